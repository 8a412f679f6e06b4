"""The fake machine: the part of a Linux kernel and its commands that the engine uses."""

import asyncio
import errno
import json
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from inventory.nodes.engines.linux.kernel import COMMAND_SECONDS, CommandFailed, Output, Stuck
from inventory.nodes.engines.linux.mapped import group_of
from tests.linux import debugfs
from tests.linux.debugfs import FakeDebugfs
from tests.linux.drives import Drive, ThinVolume, fail
from tests.linux.lvm import FakeLvm, Refused
from tests.linux.mapper import FakeMapper
from tests.linux.network import Network, Session
from tests.linux.nvmet import FakeNvmet
from tests.linux.udev import FakeUdev

CONFIGFS = "/sys/kernel/config/nvmet"
CLASS, BLOCK = "/sys/class/nvme", "/sys/class/block"
CHUNK = 2**20


class FakeKernel:
    """A machine with these drives. ``files``: more files that can be read. ``log``: the commands.
    ``on_call`` is called before each call with its words, and may raise an exception. ``turns``:
    how many turns of the event loop a command takes, by its second word. ``has_debugfs``: whether
    the kernel tells which hosts are connected, as newer ones than 6.1 do.
    """

    def __init__(
        self, drives: Iterable[Drive], network: Network, addresses: Iterable[str] = ("127.0.0.1",)
    ) -> None:
        self.drives = list(drives)
        self.network = network
        network.drives += self.drives
        self.addresses = set(addresses)
        self.rdma_addresses: set[str] = set()
        self.is_rdma_readable = True
        self.has_debugfs = False
        self.log: list[tuple[str, ...]] = []
        self.on_call: Callable[[tuple[str, ...]], None] = lambda words: None
        self.turns: dict[str, int] = {}
        self._boot()

    def reboot(self) -> None:
        """Lose everything that is not on a drive."""
        self.nvmet.close()
        self._boot()

    def close(self) -> None:
        """End the agent. The machine keeps running."""

    async def run(self, *command: str, text: str = "", seconds: float = COMMAND_SECONDS) -> Output:
        # a command goes on if its caller is cancelled
        return await asyncio.shield(self._run(command, text, seconds))

    async def _run(self, command: tuple[str, ...], text: str, seconds: float) -> Output:
        await self._called(command)
        name, *words = command
        handlers: dict[str, Callable[..., str]] = {
            "lvm": lambda *more: self.lvm.run(*more, seconds=seconds),
            "dmsetup": lambda *more: self.mapper.run(text, *more),
            "nvme": self._nvme,
            "modprobe": self._modprobe,
            "rdma": self._rdma,
            "install": lambda *more: self.udev.install(text, *more),
            "udevadm": self.udev.udevadm,
            "uname": lambda *more: "6.1.0-50-amd64\n",
            "blockdev": lambda option, path: f"{self._drive(path).block_size}\n",
            "wipefs": self._wipefs,
            "stat": lambda *more: self._drive(more[-1]).number,
            "cmp": self._cmp,
        }
        try:
            return Output(0, handlers[name](*words), "")
        except Refused as error:
            return Output(error.code, "", error.text)
        except TimeoutError:  # an OSError, too
            raise Stuck(f"{' '.join(command[:2])} did not end within {seconds:.0f} s") from None
        except (OSError, KeyError) as error:
            return Output(1, "", str(error))

    async def read(self, path: str) -> str:
        await self._called(("read", path))
        if path.startswith(CONFIGFS):
            return self.nvmet.read(_parts(path)).strip()
        if path.startswith(debugfs.ROOT):
            return self._debugfs(path).read(path)
        if path.startswith("/proc/net/tcp"):
            return "\n".join(self._connections(path)).strip()
        return self._sysfs(path)

    async def write(self, path: str, text: str) -> None:
        await self._called(("write", path, text))
        self.nvmet.write(_parts(path), text)

    async def make(self, path: str) -> None:
        await self._called(("make", path))
        self.nvmet.make(_parts(path))

    async def remove(self, path: str) -> None:
        await self._called(("remove", path))
        self.nvmet.remove(_parts(path))

    async def link(self, to: str, path: str) -> None:
        await self._called(("link", to, path))
        self.nvmet.link(_parts(to), _parts(path))

    async def unlink(self, path: str) -> None:
        await self._called(("unlink", path))
        self.nvmet.unlink(_parts(path))

    async def names(self, path: str) -> list[str]:
        await self._called(("names", path))
        if path == CLASS:
            return sorted(self.controllers)
        if path.startswith(CLASS):
            session = self.controllers[path.rpartition("/")[2]]
            number = path.rpartition("/nvme")[2]
            nsids = session.subsystem.namespaces
            return sorted(["address", *(f"nvme{number}c{number}n{nsid}" for nsid in nsids)])
        if path.startswith(debugfs.ROOT):
            return sorted(self._debugfs(path).names(path))
        return sorted(self.nvmet.names(_parts(path)))

    async def exists(self, path: str) -> bool:
        await self._called(("exists", path))
        if path.startswith(CONFIGFS):
            return self.nvmet.exists(_parts(path))
        if path == debugfs.ROOT:
            return self.has_debugfs
        return any(drive.path == path and drive.is_there for drive in self.drives)

    async def copy(
        self, source: str, to: str, *, start: int, end: int, note: Callable[[int], None]
    ) -> None:
        reading, (session, nsid) = self.device(source), self._disk(to)
        for offset in range(start, end, CHUNK):
            await self._called(("copy", to, str(offset)))
            data = reading.read(offset, min(CHUNK, end - offset))
            try:
                if data.strip(b"\0"):
                    session.device(nsid).write(offset, data)
                else:
                    session.device(nsid)
            except (OSError, AttributeError) as error:
                raise CommandFailed(("copy",), 1, f"{to} Input/output error") from error
            note(offset + len(data))

    def device(self, path: str) -> Any:
        """Return the device of a path under ``/dev/mapper``.

        :raises OSError: there is none.
        """
        name = path.removeprefix("/dev/mapper/")
        if name not in self.mapper.devices:
            raise fail(errno.ENOENT, path)
        return self.mapper.devices[name]

    def pull(self, drive: Drive) -> None:
        """Pull the drive. The devices over it stay, and fail."""
        drive.is_there = False
        assert drive.group
        for name, device in self.mapper.devices.items():
            device.is_dead |= group_of(name) == drive.group.name

    def plug(self, drive: Drive) -> None:
        """Plug the drive in again. For the kernel it is another device."""
        major, minor = drive.number.split(":")
        drive.is_there, drive.number = True, f"{major}:{int(minor) + 10}"

    def lose(self, lv: str) -> None:
        """Remove the last logical volume of this name, whatever uses it, like an operator by
        mistake.
        """
        drive = [one for one in self.drives if one.group and lv in one.group.volumes][-1]
        assert drive.group
        volume = drive.group.volumes[lv]
        self._close(volume)
        drive.group.remove(volume)

    def _close(self, volume: ThinVolume) -> None:
        gone = {
            name
            for name, one in self.mapper.devices.items()
            if any(target.of is volume for target in one.targets)
        }
        below = {id(self.mapper.devices[name]) for name in gone}
        gone |= {
            name
            for name, one in self.mapper.devices.items()
            if any(id(target.of) in below for target in one.targets)
        }
        for subsystem in self.nvmet.subsystems.values():
            for nsid, namespace in list(subsystem.namespaces.items()):
                if namespace.device and namespace.device.name in gone:
                    self.nvmet.remove(["subsystems", subsystem.nqn, "namespaces", str(nsid)])
        for name in gone:
            del self.mapper.devices[name]

    def _boot(self) -> None:
        self.udev = FakeUdev()
        self.mapper = FakeMapper()
        self.lvm = FakeLvm(self.drives, self.mapper, self.udev.appeared)
        self.nvmet = FakeNvmet(self.network, self.device, self.addresses, self.rdma_addresses)
        self.modules: set[str] = set()
        self.controllers: dict[str, Session] = {}
        for drive in self.drives:
            if drive.group and drive.group.pool and drive.group.is_autoactivated:
                self.lvm.activate(drive.group)

    def _debugfs(self, path: str) -> FakeDebugfs:
        if not self.has_debugfs:
            raise fail(errno.ENOENT, path)
        return FakeDebugfs(self.nvmet)

    async def _called(self, words: tuple[str, ...]) -> None:
        self.log.append(words)
        self.on_call(words)
        text, turns = " ".join(words), self.turns.get(words[1], 1)
        for _ in range(max([turns, *(one.turns for one in self.drives if one.path in text)])):
            await asyncio.sleep(0)

    def _nvme(self, verb: str, *words: str) -> str:
        options = dict(zip(words[::2], words[1::2], strict=True))
        if verb == "disconnect":
            session = self.controllers.pop(options["--device"])
            session.is_open = False
            with suppress(ValueError):
                session.subsystem.sessions.remove(session)
            return ""
        place = (options["--transport"], options["--traddr"], int(options["--trsvcid"]))
        try:
            session = self.network.connect(place, options["--nqn"], options["--hostnqn"])
        except OSError as error:
            text = f"could not add new controller: failed to write to nvme-fabrics device: {error}"
            raise Refused(1, text) from error
        number = next(n for n in range(99) if f"nvme{n}" not in self.controllers)
        self.controllers[f"nvme{number}"] = session
        return ""

    def _sysfs(self, path: str) -> str:
        parts = path.split("/")
        if path.startswith(BLOCK):
            session, nsid = self._disk(f"/dev/{parts[4]}")
            if parts[-1] == "nsid":
                return str(nsid)
            if parts[-1] == "size":
                return str(session.size(nsid) // 512)
            return str(self._block_size(session.device(nsid)))
        session = self.controllers[parts[4]]
        return {"subsysnqn": session.nqn, "hostnqn": session.host}[parts[-1]]

    def _disk(self, path: str) -> tuple[Session, int]:
        controller, _, nsid = path.removeprefix("/dev/").rpartition("n")
        if controller not in self.controllers:
            raise fail(errno.ENOENT, path)
        return self.controllers[controller], int(nsid)

    def _block_size(self, device: Any) -> int:
        """Return the block size of the drive at the bottom."""
        while not isinstance(device, ThinVolume):
            device = device.targets[0].of
        return next(
            drive.block_size
            for drive in self.network.drives
            if drive.group and device in drive.group.volumes.values()
        )

    def _wipefs(self, *words: str) -> str:
        drive = self._drive(words[-1])
        if "--all" in words:
            assert "--no-act" not in words
            drive.signatures, drive.group, drive.has_data = [], None, False
            return ""
        found = [{"device": "x", "offset": "0x0", "type": one} for one in drive.signatures]
        return json.dumps({"signatures": found})

    def _cmp(self, *words: str) -> str:
        if self._drive(words[2]).has_data:
            raise Refused(1, "differ: byte 1, line 1")
        return ""

    def _drive(self, path: str) -> Drive:
        for drive in self.drives:
            if drive.path == path and drive.is_there:
                if drive.hangs:
                    raise TimeoutError
                return drive
        raise fail(errno.ENOENT, path)

    def _connections(self, path: str) -> list[str]:
        lines = ["  sl  local_address rem_address   st tx_queue rx_queue"]
        if path.endswith("6"):
            return lines
        for address, port in self._sessions("tcp"):
            [word] = struct.unpack("=I", bytes(map(int, address.split("."))))
            lines.append(f"   0: {word:08X}:{port:04X} 0100007F:C001 01 00000000:00000000")
        return lines

    def _modprobe(self, option: str, *names: str) -> str:
        assert option == "--all"
        self.modules.update(names)
        return ""

    def _rdma(self, *words: str) -> str:
        """``rdma`` of iproute2 6.1. It can be read without RDMA devices, too."""
        assert words == ("-j", "resource", "show", "cm_id")
        if not self.is_rdma_readable:  # measured on a kernel that is built without RDMA
            raise Refused(1, "Failed to open NETLINK_RDMA socket")
        common = {"ifindex": 0, "ifname": "rxe0", "port": 1, "ps": "TCP", "comm": "nvmet_rdma"}
        found = []
        for values in [port.attributes for port in self.nvmet.ports.values() if port.subsystems]:
            if values["addr_trtype"] == "rdma":
                place = f"{values['addr_traddr']}:{values['addr_trsvcid']}"
                ends = {"src-addr": place, "dst-addr": "0.0.0.0:0"}
                found.append(common | {"state": "LISTEN"} | ends)
        for address, number in self._sessions("rdma"):
            ends = {"src-addr": f"{address}:{number}", "dst-addr": "192.0.2.9:49153"}
            found.append(common | {"state": "CONNECT"} | ends)
        return json.dumps(found)

    def _sessions(self, transport: str) -> list[tuple[str, int]]:
        """The address and port of each session over this transport."""
        ports = [
            session.port.attributes
            for subsystem in self.nvmet.subsystems.values()
            for session in subsystem.sessions
        ]
        return [
            (values["addr_traddr"], int(values["addr_trsvcid"]))
            for values in ports
            if values["addr_trtype"] == transport
        ]


def _parts(path: str) -> list[str]:
    assert path.startswith(CONFIGFS), path
    return [part for part in path.removeprefix(CONFIGFS).split("/") if part]
