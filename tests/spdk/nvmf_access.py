"""Which hosts may connect to a subsystem and where, and which are connected."""

from typing import Any

from tests.spdk.nvmf import Address, Subsystem, Subsystems, is_nqn
from tests.spdk.rpc import INTERNAL, Module, Refused, invalid_parameters

INTERNAL_ERROR = Refused(INTERNAL, "Internal error")


class NvmfAccessMethods(Module):
    METHODS = ("nvmf_",)
    UNDECODABLE = (-32602, "Invalid parameters")

    def __init__(self, subsystems: Subsystems) -> None:
        self._subsystems = subsystems

    async def nvmf_subsystem_add_host(
        self, nqn: str, host: str, dhchap_key: str | None = None
    ) -> bool:
        subsystem = self._subsystems.get(nqn)
        if dhchap_key is not None:
            raise invalid_parameters()
        if host in subsystem.hosts or not is_nqn(host):
            raise INTERNAL_ERROR
        subsystem.hosts.insert(0, host)
        return True

    async def nvmf_subsystem_remove_host(
        self, nqn: str, host: str, timeout_ms: int | None = None
    ) -> bool:
        """Replies after the host's controllers are disconnected."""
        subsystem = self._subsystems.get(nqn)
        if host not in subsystem.hosts:
            raise INTERNAL_ERROR
        subsystem.hosts.remove(host)
        self._subsystems.fabric.disconnect(nqn, host)
        return True

    async def nvmf_subsystem_allow_any_host(self, nqn: str, allow_any_host: bool) -> bool:
        self._subsystems.get(nqn).allow_any_host = allow_any_host
        return True

    async def nvmf_subsystem_add_listener(self, nqn: str, listen_address: Address) -> bool:
        subsystem = self._subsystems.get(nqn)
        if self._is_known(subsystem, listen_address) or not self._has_transport(listen_address):
            raise invalid_parameters()
        try:
            await self._subsystems.fabric.listen(listen_address.traddr, listen_address.trsvcid)
        except (OSError, ValueError):
            raise invalid_parameters() from None
        subsystem.listeners.append(listen_address)
        return True

    async def nvmf_subsystem_remove_listener(self, nqn: str, listen_address: Address) -> bool:
        subsystem = self._subsystems.get(nqn)
        if not self._is_known(subsystem, listen_address):
            raise invalid_parameters()
        subsystem.listeners = [
            one for one in subsystem.listeners if one.shown() != listen_address.shown()
        ]
        self._subsystems.fabric.close_unused()
        return True

    async def nvmf_subsystem_get_listeners(self, nqn: str) -> list[dict[str, Any]]:
        subsystem = self._subsystems.get(nqn)
        states = [
            {"ana_group": group, "ana_state": "optimized"}
            for group in range(1, subsystem.max_namespaces + 1)
        ]
        return [{"address": one.shown(), "ana_states": states} for one in subsystem.listeners]

    async def nvmf_subsystem_get_controllers(self, nqn: str) -> list[dict[str, Any]]:
        self._subsystems.get(nqn)
        return [
            {"cntlid": one.number, "hostnqn": one.host, "hostid": "0" * 32, "num_io_qpairs": 1}
            for one in self._subsystems.fabric.sessions_of(nqn)
        ]

    async def nvmf_subsystem_get_qpairs(self, nqn: str) -> list[dict[str, Any]]:
        self._subsystems.get(nqn)
        return [
            {"cntlid": one.number, "qid": qid, "state": "active", "hostnqn": one.host}
            for one in self._subsystems.fabric.sessions_of(nqn)
            for qid in (0, 1)
        ]

    def _has_transport(self, address: Address) -> bool:
        return address.trtype.upper() in self._subsystems.transports

    def _is_known(self, subsystem: Subsystem, address: Address) -> bool:
        return address.shown() in [one.shown() for one in subsystem.listeners]
