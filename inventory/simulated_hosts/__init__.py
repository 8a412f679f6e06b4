"""Simulated host agents: programs outside of the provisioner, which speak to its API alone."""

from inventory.simulated_hosts.agent import Behaviour, host_uuid
from inventory.simulated_hosts.connection import Endpoint
from inventory.simulated_hosts.fleet import SimulatedHosts

__all__ = ["Behaviour", "Endpoint", "SimulatedHosts", "host_uuid"]
