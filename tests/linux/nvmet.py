"""The NVMe-oF target of the fake machine's kernel, with the configfs of Linux 6.1. Its state is
lost when the machine restarts.
"""

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.linux.drives import fail
from tests.linux.network import Network, Place, Session

LAST_ID = 65519
NSIDS = range(1, 0xFFFFFFFF)
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PORT_ATTRIBUTES = ("addr_trtype", "addr_adrfam", "addr_traddr", "addr_trsvcid")

FindDevice = Callable[[str], Any]


@dataclass(eq=False)
class Namespace:
    """A namespace. ``device``: set while the namespace is enabled."""

    attributes: dict[str, str]
    device: Any = None
    size: int = 0


@dataclass(eq=False)
class Subsystem:
    """A subsystem. ``sizes``: the sizes of its namespaces, as last told to hosts."""

    nqn: str
    attributes: dict[str, str]
    hosts: set[str] = field(default_factory=set)
    namespaces: dict[int, Namespace] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)
    last_id: int = 0


@dataclass(eq=False)
class Port:
    attributes: dict[str, str]
    subsystems: set[str] = field(default_factory=set)


class FakeNvmet:
    """The target. ``find``: returns the open device of a path. ``addresses``: the addresses of the
    machine. ``rdma_addresses``: those of RDMA devices.
    """

    def __init__(
        self, network: Network, find: FindDevice, addresses: set[str], rdma_addresses: set[str]
    ) -> None:
        self._network = network
        self._find = find
        self._addresses = addresses
        self._rdma_addresses = rdma_addresses
        self.hosts: set[str] = set()
        self.subsystems: dict[str, Subsystem] = {}
        self.ports: dict[str, Port] = {}

    def close(self) -> None:
        """Lose all state, as when the machine restarts."""
        for number in list(self.ports):
            for nqn in list(self.ports[number].subsystems):
                self.unlink(["ports", number, "subsystems", nqn])
        for subsystem in self.subsystems.values():
            for namespace in subsystem.namespaces.values():
                self._disable(namespace)

    def make(self, parts: list[str]) -> None:
        if self.exists(parts):
            raise fail(errno.EEXIST, parts[-1])
        match parts:
            case ["hosts", nqn]:
                self.hosts.add(nqn)
            case ["subsystems", nqn]:
                values = {"attr_allow_any_host": "0", "attr_serial": "0123456789abcdef0123"}
                values |= {"attr_model": "Linux", "attr_cntlid_min": "1"}
                values |= {"attr_cntlid_max": str(LAST_ID)}
                self.subsystems[nqn] = Subsystem(nqn, values)
            case ["subsystems", nqn, "namespaces", number]:
                if not number.isdigit() or int(number) not in NSIDS:
                    raise fail(errno.EINVAL, number)
                values = {"enable": "0", "device_path": "(null)", "device_uuid": "0"}
                namespace = Namespace(values | {"device_nguid": "0"})
                self._subsystem(nqn).namespaces[int(number)] = namespace
            case ["ports", number]:
                self.ports[number] = Port(dict.fromkeys(PORT_ATTRIBUTES, ""))
            case _:
                raise fail(errno.EPERM, "/".join(parts))

    def remove(self, parts: list[str]) -> None:
        if not self.exists(parts):
            raise fail(errno.ENOENT, parts[-1])
        if self._is_linked(parts):
            raise fail(errno.EBUSY, parts[-1])
        if self._has_entries(parts):
            raise fail(errno.ENOTEMPTY, parts[-1])
        match parts:
            case ["hosts", nqn]:
                self.hosts.remove(nqn)
            case ["subsystems", nqn]:
                self._end(self.subsystems[nqn], self.subsystems[nqn].sessions)
                del self.subsystems[nqn]
            case ["subsystems", nqn, "namespaces", number]:
                self._disable(self._namespace(nqn, number))
                del self.subsystems[nqn].namespaces[int(number)]
            case ["ports", number]:
                del self.ports[number]
            case _:
                raise fail(errno.EPERM, "/".join(parts))

    def _is_linked(self, parts: list[str]) -> bool:
        """Whether there is a link to the folder. configfs looks for these first."""
        match parts:
            case ["hosts", nqn]:
                return any(nqn in one.hosts for one in self.subsystems.values())
            case ["subsystems", nqn]:
                return any(nqn in port.subsystems for port in self.ports.values())
        return False

    def _has_entries(self, parts: list[str]) -> bool:
        """Whether there are folders or links in the folders that configfs made in this one. An
        enabled namespace is no obstacle: it is disabled.
        """
        match parts:
            case ["subsystems", nqn]:
                found = self.subsystems[nqn]
                return bool(found.namespaces or found.hosts)
            case ["ports", number]:
                return bool(self.ports[number].subsystems)
        return False

    def write(self, parts: list[str], text: str) -> None:
        match parts:
            case ["subsystems", nqn, name]:
                self._write_subsystem(self._subsystem(nqn), name, text)
            case ["subsystems", nqn, "namespaces", number, name]:
                self._write_namespace(self._namespace(nqn, number), name, text)
            case ["ports", number, name]:
                port = self.ports[number]
                if port.subsystems:
                    raise fail(errno.EACCES, name)
                if name not in port.attributes:
                    raise fail(errno.ENOENT, name)
                port.attributes[name] = text
            case _:
                raise fail(errno.ENOENT, "/".join(parts))

    def read(self, parts: list[str]) -> str:
        match parts:
            case ["subsystems", nqn, name]:
                return self._subsystem(nqn).attributes[name] + "\n"
            case ["subsystems", nqn, "namespaces", number, name]:
                return self._namespace(nqn, number).attributes[name] + "\n"
            case ["ports", number, name]:
                return self.ports[number].attributes[name] + "\n"
        raise fail(errno.ENOENT, "/".join(parts))

    def link(self, to: list[str], parts: list[str]) -> None:
        match parts, to:
            case ["subsystems", nqn, "allowed_hosts", name], ["hosts", host]:
                subsystem = self._subsystem(nqn)
                if host not in self.hosts:
                    raise fail(errno.ENOENT, host)
                if subsystem.attributes["attr_allow_any_host"] == "1":
                    raise fail(errno.EINVAL, host)
                if host in subsystem.hosts:
                    raise fail(errno.EEXIST, name)
                subsystem.hosts.add(host)
            case ["ports", number, "subsystems", name], ["subsystems", nqn]:
                port = self.ports[number]
                self._subsystem(nqn)
                if nqn in port.subsystems:
                    raise fail(errno.EEXIST, name)
                if not port.subsystems:
                    self._listen(port)
                port.subsystems.add(nqn)
            case _:
                raise fail(errno.EPERM, "/".join(parts))

    def unlink(self, parts: list[str]) -> None:
        match parts:
            case ["subsystems", nqn, "allowed_hosts", name]:
                if name not in self._subsystem(nqn).hosts:
                    raise fail(errno.ENOENT, name)
                self._subsystem(nqn).hosts.remove(name)  # connected hosts stay connected
            case ["ports", number, "subsystems", nqn]:
                port, subsystem = self.ports[number], self._subsystem(nqn)
                if nqn not in port.subsystems:
                    raise fail(errno.ENOENT, nqn)
                port.subsystems.remove(nqn)
                self._end(subsystem, [one for one in subsystem.sessions if one.port is port])
                if not port.subsystems:
                    self._network.close(_place(port))
            case _:
                raise fail(errno.EPERM, "/".join(parts))

    def names(self, parts: list[str]) -> list[str]:
        match parts:
            case ["hosts"]:
                return list(self.hosts)
            case ["subsystems"]:
                return list(self.subsystems)
            case ["ports"]:
                return list(self.ports)
            case ["subsystems", nqn, "namespaces"]:
                return [str(nsid) for nsid in self._subsystem(nqn).namespaces]
            case ["subsystems", nqn, "allowed_hosts"]:
                return list(self._subsystem(nqn).hosts)
            case ["ports", number, "subsystems"]:
                return list(self.ports[number].subsystems)
        raise fail(errno.ENOENT, "/".join(parts))

    def exists(self, parts: list[str]) -> bool:
        if not parts:
            return True
        try:
            return parts[-1] in self.names(parts[:-1])
        except (OSError, KeyError):
            return False

    def connect(self, port: Port, nqn: str, host: str) -> Session:
        """Connect a host.

        :raises OSError: it is not allowed to connect.
        """
        if nqn not in port.subsystems:
            raise fail(errno.EIO, f"no {nqn}")
        subsystem = self.subsystems[nqn]
        is_any = subsystem.attributes["attr_allow_any_host"] == "1"
        if host not in subsystem.hosts and not is_any:
            raise fail(errno.EIO, f"{host} is not allowed")
        first, last = (int(subsystem.attributes[f"attr_cntlid_{one}"]) for one in ("min", "max"))
        used = {one.number for one in subsystem.sessions}
        number = next(one for one in range(first, last + 1) if one not in used)
        session = Session(number, nqn, host, port, subsystem)
        subsystem.sessions.append(session)
        return session

    def _listen(self, port: Port) -> None:
        values = port.attributes
        transport, address = values["addr_trtype"], values["addr_traddr"]
        if transport not in {"tcp", "rdma"} or values["addr_adrfam"] not in {"ipv4", "ipv6"}:
            raise fail(errno.EINVAL)
        if address not in self._addresses:
            raise fail(errno.EADDRNOTAVAIL)
        if transport == "rdma" and address not in self._rdma_addresses:
            raise fail(errno.ENODEV)
        self._network.listen(_place(port), self, port)

    def _end(self, subsystem: Subsystem, sessions: list[Session]) -> None:
        for session in list(sessions):
            session.is_open = False
            subsystem.sessions.remove(session)

    def _write_subsystem(self, subsystem: Subsystem, name: str, text: str) -> None:
        values = subsystem.attributes
        if name not in values:
            raise fail(errno.ENOENT, name)
        if name.startswith("attr_cntlid"):
            number = int(text)
            low = number if name.endswith("min") else int(values["attr_cntlid_min"])
            high = number if name.endswith("max") else int(values["attr_cntlid_max"])
            if not 0 < low <= high <= LAST_ID:
                raise fail(errno.EINVAL, text)
        if name == "attr_allow_any_host" and text == "1" and subsystem.hosts:
            raise fail(errno.EINVAL, text)
        if name == "attr_serial" and len(text) > 20:
            raise fail(errno.EINVAL, text)
        if name == "attr_model" and subsystem.sessions:
            raise fail(errno.EINVAL, text)
        values[name] = text

    def _write_namespace(self, namespace: Namespace, name: str, text: str) -> None:
        if name == "revalidate_size":
            if namespace.device is None:
                raise fail(errno.EINVAL, name)
            namespace.size = namespace.device.size
            return
        if name not in namespace.attributes:
            raise fail(errno.ENOENT, name)
        if name == "enable":
            if text == "1" and namespace.device is None:
                self._enable(namespace)
            elif text == "0":
                self._disable(namespace)
            return
        if namespace.device is not None:
            raise fail(errno.EBUSY, name)
        _check_id(name, text)
        namespace.attributes[name] = text

    def _enable(self, namespace: Namespace) -> None:
        device = self._find(namespace.attributes["device_path"])
        device.openers.add(namespace)
        namespace.device, namespace.size = device, device.size
        namespace.attributes["enable"] = "1"

    def _disable(self, namespace: Namespace) -> None:
        if namespace.device is not None:
            namespace.device.openers.discard(namespace)
        namespace.device = None
        namespace.attributes["enable"] = "0"

    def _subsystem(self, nqn: str) -> Subsystem:
        if nqn not in self.subsystems:
            raise fail(errno.ENOENT, nqn)
        return self.subsystems[nqn]

    def _namespace(self, nqn: str, number: str) -> Namespace:
        found = self._subsystem(nqn).namespaces.get(int(number))
        if found is None:
            raise fail(errno.ENOENT, number)
        return found


def _check_id(name: str, text: str) -> None:
    if name in {"device_uuid", "device_nguid"} and not ID.fullmatch(text):
        raise fail(errno.EINVAL, text)


def _place(port: Port) -> Place:
    values = port.attributes
    return values["addr_trtype"], values["addr_traddr"], int(values["addr_trsvcid"])
