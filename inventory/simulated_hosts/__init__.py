"""Simulated host agents: programs outside the provisioner that use only its API."""

from inventory.simulated_hosts.agent import Behaviour, host_uuid
from inventory.simulated_hosts.connection import Endpoint
from inventory.simulated_hosts.fleet import SimulatedHosts

__all__ = ["Behaviour", "Endpoint", "SimulatedHosts", "host_uuid"]
