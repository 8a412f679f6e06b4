"""Copies to another simulated node. They take the time that copying the bytes would take."""

import asyncio
from dataclasses import dataclass, field

from inventory.nodes.engines.simulated.network import Network, NoAccess
from inventory.nodes.engines.simulated.peer import Peer
from inventory.nodes.wire import Sync, SyncSpec, SyncState, VolumeSpec


@dataclass
class Copy:
    """A copy. ``settled`` bytes were done at time ``at`` of the event loop. ``destination`` is None
    if there was no access to it.
    """

    uuid: str
    spec: SyncSpec
    total: int
    mark: str
    at: float
    settled: int = 0
    state: SyncState = SyncState.RUNNING
    message: str = ""
    destination: tuple[Peer, str] | None = None
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)


class Copies:
    """The copies of one engine, at most one for each volume. Use it in one event loop only.

    A timer ends each copy, and the progress is computed from the clock. Whenever the network
    changes, each copy checks that its target still exists. At its end, the destination gets the
    mark that the source had at the start.

    ``rate``: bytes per second of each copy; 0: all copies stand still.
    """

    def __init__(self, engine: Peer, network: Network, rate: int) -> None:
        self._engine = engine
        self._network = network
        self._copies: dict[str, Copy] = {}
        self.rate = rate

    def begin(self, uuid: str, volume: VolumeSpec, spec: SyncSpec) -> None:
        """Start a copy, and forget the previous one. If it cannot start, ``read`` reports the
        reason.
        """
        self.end(uuid)
        mark, now = self._engine.engine_state.mark(uuid), asyncio.get_running_loop().time()
        copy = self._copies[uuid] = Copy(uuid, spec, volume.capacity, mark, now)
        try:
            copy.destination = self._destination(spec, volume)
        except NoAccess as error:
            self._fail(copy, str(error))
        else:
            self._schedule(copy)

    def read(self, uuid: str) -> Sync | None:
        """The latest copy of the volume, or None."""
        copy = self._copies.get(uuid)
        if copy is None:
            return None
        return Sync(
            state=copy.state,
            bytes_done=self._done(copy),
            bytes_total=copy.total,
            message=copy.message,
            **dict(copy.spec),
        )

    def end(self, uuid: str) -> None:
        """Stop and forget the copy."""
        if copy := self._copies.pop(uuid, None):
            _stop_timer(copy)

    def lose(self, uuid: str) -> None:
        """Fail the copy, because its source volume no longer exists."""
        copy = self._copies.get(uuid)
        if copy is not None and copy.state is SyncState.RUNNING:
            self._fail(copy, f"volume {uuid} is no longer on this node")

    def clear(self) -> None:
        """Stop and forget all copies."""
        for uuid in tuple(self._copies):
            self.end(uuid)

    def set_rate(self, rate: int) -> None:
        """Change the rate, also of running copies."""
        running = [copy for copy in self._copies.values() if copy.state is SyncState.RUNNING]
        for copy in running:
            self._settle(copy)
        self.rate = rate
        for copy in running:
            self._schedule(copy)

    def check(self) -> None:
        """Fail the copies whose target no longer exists."""
        for copy in self._copies.values():
            if copy.state is not SyncState.RUNNING:
                continue
            try:
                if self._access(copy.spec) != copy.destination:
                    self._fail(copy, f"namespace {copy.spec.nsid} now belongs to another volume")
            except NoAccess as error:
                self._fail(copy, str(error))

    def _destination(self, spec: SyncSpec, volume: VolumeSpec) -> tuple[Peer, str]:
        engine, uuid = self._access(spec)
        there = engine.volume(uuid)
        where = f"namespace {spec.nsid} of {spec.nqn}"
        if there is None:
            raise NoAccess(f"{where} has no volume")
        if there.capacity < volume.capacity:
            raise NoAccess(f"{where} has {there.capacity} bytes, less than {volume.capacity}")
        if there.block_size != volume.block_size:
            raise NoAccess(f"{where} is in blocks of {there.block_size}, not {volume.block_size}")
        return engine, uuid

    def _access(self, spec: SyncSpec) -> tuple[Peer, str]:
        if self._engine.is_cut_off:
            raise NoAccess("this node is partitioned")
        return self._network.find(spec)

    def _done(self, copy: Copy) -> int:
        if copy.state is not SyncState.RUNNING or copy.destination is None:
            return copy.settled
        seconds = asyncio.get_running_loop().time() - copy.at
        return min(copy.total, copy.settled + int(seconds * self.rate))

    def _settle(self, copy: Copy) -> None:
        copy.settled = self._done(copy)
        copy.at = asyncio.get_running_loop().time()

    def _schedule(self, copy: Copy) -> None:
        _stop_timer(copy)
        if self.rate:
            seconds = (copy.total - copy.settled) / self.rate
            copy.timer = asyncio.get_running_loop().call_later(seconds, self._finish, copy)

    def _finish(self, copy: Copy) -> None:
        if copy.destination is not None:
            engine, uuid = copy.destination
            engine.engine_state.put_mark(uuid, copy.mark)
        copy.settled, copy.state = copy.total, SyncState.DONE

    def _fail(self, copy: Copy, message: str) -> None:
        _stop_timer(copy)
        self._settle(copy)
        copy.state, copy.message = SyncState.FAILED, message


def _stop_timer(copy: Copy) -> None:
    if copy.timer is not None:
        copy.timer.cancel()
