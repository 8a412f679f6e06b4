"""The data ports of the fake target: real TCP, but with a simple protocol instead of NVMe/TCP.

Both sides send a header, a line of JSON, and then as many bytes as its ``size`` says.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.spdk.rpc import Refused

if TYPE_CHECKING:
    from tests.spdk.nvmf import Namespace, Subsystems

NO_NAMESPACE = "00/0b"
DEVICE_ERROR = "00/06"
NO_ACCESS = "1/84"
INVALID_OPCODE = "00/01"
DSM = "nvmdsmsv"


@dataclass(eq=False)
class Session:
    """A controller: a connected host. ``number``: its controller id."""

    number: int
    nqn: str
    host: str
    writer: asyncio.StreamWriter


class Fabric:
    """Subsystems share ports. A port closes with the last subsystem that listens there."""

    def __init__(self, subsystems: "Subsystems") -> None:
        self._subsystems = subsystems
        self._servers: dict[tuple[str, int], asyncio.Server] = {}
        self._opening = asyncio.Lock()
        self._sessions: list[Session] = []

    async def listen(self, address: str, port: str) -> None:
        """Listen on this address and port.

        :raises OSError, ValueError: the address is not one of this machine, or the port is in use.
        """
        place = (address, int(port))
        async with self._opening:
            if place not in self._servers:
                self._servers[place] = await asyncio.start_server(
                    lambda reader, writer: self._serve(place, reader, writer), *place
                )

    def close_unused(self) -> None:
        used = {
            (one.traddr, int(one.trsvcid))
            for subsystem in self._subsystems.all.values()
            for one in subsystem.listeners
        }
        for place in set(self._servers) - used:
            self._servers.pop(place).close()

    def close(self) -> None:
        for server in self._servers.values():
            server.close()
        for session in self._sessions:
            session.writer.transport.abort()

    def sessions_of(self, nqn: str) -> list[Session]:
        return [one for one in self._sessions if one.nqn == nqn]

    def disconnect(self, nqn: str, host: str | None = None) -> None:
        for session in self.sessions_of(nqn):
            if host in {None, session.host}:
                session.writer.transport.abort()
                self._sessions.remove(session)

    async def _serve(
        self, place: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        session = None
        try:
            header, _ = await receive(reader)
            session = self._connect(place, header, writer)
            if session is None:
                await send(writer, {"error": NO_ACCESS})
                return
            await send(writer, {"cntlid": session.number, "namespaces": self._namespaces(session)})
            while True:
                await self._answer(session, *await receive(reader))
        except (OSError, EOFError, ValueError):
            pass
        finally:
            if session in self._sessions:
                self._sessions.remove(session)
            writer.transport.abort() if session else writer.close()

    def _connect(
        self, place: tuple[str, int], header: dict[str, Any], writer: asyncio.StreamWriter
    ) -> Session | None:
        subsystem = self._subsystems.all.get(header["subnqn"])
        if subsystem is None or not subsystem.admits(header["hostnqn"]):
            return None
        if place not in [(one.traddr, int(one.trsvcid)) for one in subsystem.listeners]:
            return None
        cntlid = subsystem.next_cntlid([one.number for one in self.sessions_of(subsystem.nqn)])
        if cntlid is None:
            return None
        session = Session(cntlid, subsystem.nqn, header["hostnqn"], writer)
        self._sessions.append(session)
        return session

    async def _answer(self, session: Session, header: dict[str, Any], data: bytes) -> None:
        found = self._space(session).get(header.get("nsid", 0))
        if header["op"] == "list":
            await send(session.writer, {"namespaces": self._namespaces(session)})
        elif found is None:
            await send(session.writer, {"error": NO_NAMESPACE})
        elif header["op"] == "unmap" and self._subsystems.is_masked(DSM):
            await send(session.writer, {"error": INVALID_OPCODE})
        else:
            try:
                reply = await _transfer(found, header, data)
            except (OSError, Refused):
                await send(session.writer, {"error": DEVICE_ERROR})
            else:
                await send(session.writer, {}, reply)

    def _space(self, session: Session) -> dict[int, "Namespace"]:
        subsystem = self._subsystems.all.get(session.nqn)
        return subsystem.namespaces if subsystem else {}

    def _namespaces(self, session: Session) -> list[dict[str, Any]]:
        return [
            {
                "nsid": nsid,
                "uuid": one.uuid,
                "size": one.bdev.size,
                "block_size": one.bdev.block_size,
            }
            for nsid, one in self._space(session).items()
        ]


async def _transfer(namespace: "Namespace", header: dict[str, Any], data: bytes) -> bytes:
    bdev = namespace.bdev
    if header["op"] == "read":
        bdev.was_read += header["length"]
        return await bdev.read(header["offset"], header["length"])
    if header["op"] == "zero":
        await bdev.zero(header["offset"], header["length"])
    elif header["op"] == "unmap":
        await bdev.unmap(header["offset"], header["length"])
    else:
        bdev.written += len(data)
        await bdev.write(header["offset"], data)
    return b""


async def send(writer: asyncio.StreamWriter, header: dict[str, Any], data: bytes = b"") -> None:
    writer.write(json.dumps(header | {"size": len(data)}).encode() + b"\n" + data)
    await writer.drain()


async def receive(reader: asyncio.StreamReader) -> tuple[dict[str, Any], bytes]:
    """Read a header and its bytes.

    :raises OSError, EOFError: the other side is gone.
    """
    line = await reader.readline()
    if not line:
        raise EOFError
    header: dict[str, Any] = json.loads(line)
    return header, await reader.readexactly(header["size"])
