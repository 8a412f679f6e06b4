"""Exports on the fake target, made by direct calls."""

from tests.servers import free_port
from tests.spdk.client import Client

NQN = "nqn.2022-08.com.kioxia:t"
HOST = "nqn.2014-08.org.nvmexpress:uuid:11111111-1111-4111-8111-111111111111"


def export(call: Client, bdev: str, *, nqn: str = NQN, host: str = HOST) -> int:
    """Export the bdev. Returns the port where the host finds it as namespace 1."""
    port = free_port()
    address = {"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": str(port)}
    if not call("nvmf_get_transports"):
        call("nvmf_create_transport", trtype="TCP")
    call("nvmf_create_subsystem", nqn=nqn, max_namespaces=32)
    call("nvmf_subsystem_add_host", nqn=nqn, host=host)
    call("nvmf_subsystem_add_listener", nqn=nqn, listen_address=address)
    call("nvmf_subsystem_add_ns", nqn=nqn, namespace={"bdev_name": bdev, "nsid": 1})
    return port
