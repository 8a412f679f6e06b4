"""Storage nodes without disks, for tests and the demo. Their space is counted exactly, they use
real HTTPS, and faults can be caused.
"""

from inventory.nodes.engines.simulated.engine import SimulatedEngine
from inventory.nodes.engines.simulated.fault_control import FaultControl
from inventory.nodes.engines.simulated.faults import Fault, FaultKind, Faults
from inventory.nodes.engines.simulated.fleet import SimulatedFleet
from inventory.nodes.engines.simulated.node import SimulatedNode

__all__ = [
    "Fault",
    "FaultControl",
    "FaultKind",
    "Faults",
    "SimulatedEngine",
    "SimulatedFleet",
    "SimulatedNode",
]
