"""What an engine must do for the agent.

An engine keeps volumes (and their contents) across its own restarts; it may forget QoS limits and
targets, which the agent gives it again. Each method is repeatable: called again after a failure or
a crash at any point, it ends in the state that it names. The agent never runs two calls for one
volume, one snapshot or one target at once (taking or removing a snapshot is a call for its volume
too, making a volume one for its source; asking for a copy is none); calls for different ones do
overlap. That a volume has snapshots, or a snapshot a snapshot volume, is the agent's to watch, not
the engine's.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Protocol

from inventory.nodes.drift import DriftItem
from inventory.nodes.target_ids import ControllerIds
from inventory.nodes.wire import (
    Portal,
    Qos,
    SnapshotSpec,
    Ssd,
    Sync,
    SyncSpec,
    VolumeSpec,
)

NOTICE_SECONDS = 1.0
"""After which a Linux host has noticed that namespaces went (measured)."""

VERSION = "3.22.1"
"""Of the node's software: the provisioner takes nodes of its own major version."""


@dataclass(frozen=True)
class EngineFacts:
    """What the engine offers now; bandwidth in bytes per second. ``expands_spans_online``: it can
    expand a volume on several SSDs while a target has it.
    """

    version: str
    target_driver_version: str
    ssds: tuple[Ssd, ...]
    portals: tuple[Portal, ...]
    total_bw: int
    total_iops: int
    used_bw: int = 0
    used_iops: int = 0
    host_id: str | None = None
    expands_spans_online: bool = False


@dataclass(frozen=True)
class TargetState:
    """A target as it must be: who may connect, and the volume behind each namespace id.
    ``by_piece``: of its only volume each piece is a namespace, the first has that id.
    ``controllers``: the ids its controllers shall have; None: any.
    """

    nqn: str
    host_nqn: str
    namespaces: dict[int, str]
    by_piece: bool = False
    controllers: ControllerIds | None = None


@dataclass(frozen=True)
class Known:
    """What the agent's records say is there; ``targets`` by NQN."""

    volumes: Mapping[str, VolumeSpec]
    snapshots: Mapping[str, SnapshotSpec]
    targets: Set[str]


@dataclass(frozen=True)
class Held:
    """What is there now with all its pieces, by uuid; not what lies on absent SSDs."""

    volumes: Set[str]
    snapshots: Set[str]


class Engine(Protocol):
    """All methods raise ``NodeRefused`` when nothing was done; anything else: it may have been."""

    on_change: Callable[[int], None]
    """Set by the agent; the engine calls it, in the event loop, with the bits of ``Changes`` after
    its portals changed, and with 0 after SSDs or their capacities did."""

    @property
    def absent_ssds(self) -> frozenset[str]:
        """SSDs of the node that cannot be used now: what lies on them is there, but out of reach.
        It changes with ``start`` only.
        """

    async def start(self) -> None:
        """Bring the engine up. Returns when the calls below work; QoS and targets may be gone.

        No copy is known any more. One that an earlier life began may still be written, and what it
        reads stays, until it ends or its target goes: ``stop_copy`` is refused until then.
        """

    async def facts(self) -> EngineFacts: ...

    async def held(self) -> Held:
        """What the data plane has, whatever was recorded of it; also what is half made."""

    async def create_volume(self, uuid: str, spec: VolumeSpec) -> None:
        """The volume, of which nothing is there, is made with these pieces.

        It reads as its source, and beyond that, or without a source, as zeros; a read-only one
        cannot be written. A refusal (NO_SPACE, NOT_FOUND for an SSD or the source, CONFLICT where a
        volume is there) leaves nothing of it. The QoS is not its business.
        """

    async def expand_volume(self, uuid: str, spec: VolumeSpec) -> None:
        """Each piece of the volume, which is there, is grown to its size, and pieces that come
        after those are made. A piece that should be there already is never made.

        A refusal (NOT_FOUND for the volume, a piece of it or an SSD, NO_SPACE, CONFLICT where it
        would have to shrink or change) leaves all pieces as they were.
        """

    async def remove_volume(self, uuid: str) -> None:
        """The volume is gone and its space is free; what it held can never be read again, but
        where a clone or snapshot shares it.
        """

    async def ensure_snapshot(self, uuid: str, spec: SnapshotSpec) -> None:
        """The snapshot is there: the volume, which is, as it was at some moment of the call.

        A refusal (NO_SPACE for what it reserves, NOT_FOUND for the volume) leaves all as it was.
        """

    async def remove_snapshot(self, uuid: str) -> None:
        """The snapshot is gone and its space is free; its volume and all clones stay as they
        are.
        """

    async def set_qos(self, uuid: str, qos: Qos) -> None:
        """Limit a volume that is there, by what is enforced for ``qos``."""

    def enforced(self, qos: Qos) -> Qos:
        """The limits that the engine can enforce for these, which are not lower."""

    async def apply_target(self, target: TargetState) -> None:
        """The target is exactly so and listens on all portals, also on those that come later.

        Each namespace's uuid is its volume's. Hosts that lost access are disconnected on return. A
        target that is there keeps its controller ids while a host is connected; else it is made
        anew with those that it shall have.
        """

    async def empty_target(self, nqn: str) -> None:
        """The target has no namespace, which connected hosts are told; they stay connected. A
        target that is not there is empty.
        """

    async def remove_target(self, nqn: str) -> None:
        """The target is gone and its hosts are disconnected.

        A Linux host that saw namespaces in it keeps waiting for them, and all I/O to them hangs:
        ``empty_target`` comes NOTICE_SECONDS before.
        """

    async def start_copy(self, uuid: str, spec: SyncSpec) -> None:
        """Begin to copy a volume that is there and of which no copy is known.

        The engine connects to the target as the host that ``spec`` names, copies and disconnects.
        Whatever makes the copy fail, also at once, is told by ``copy``. No host writes the volume
        meanwhile. Where it was never written, the destination may be left as it is: that is new,
        or was filled only by copies of the same content.
        """

    async def copy(self, uuid: str) -> Sync | None:
        """The copy of the volume that was begun last: how far it is, or how it ended, told again
        and again until it is stopped or lost by a restart. DONE: all of it can be read there.
        """

    async def stop_copy(self, uuid: str) -> None:
        """No copy of the volume is known; on return nothing is written by one any more, also not by
        one that an earlier life of the engine began.

        Where a copy cannot be cancelled, the engine disconnects it and awaits its end for some
        seconds; it refuses (UNAVAILABLE) while it goes on. The removal of its target ends it.
        """

    async def target_names(self) -> tuple[str, ...]: ...

    async def connected_hosts(self) -> dict[str, tuple[str, ...]]:
        """By target NQN, the NQNs of the hosts that have a session now."""

    async def controllers(self) -> dict[str, ControllerIds]:
        """By target NQN, the ids of its controllers as they are now."""

    async def drift(self, known: Known) -> tuple[DriftItem, ...]:
        """Where what is there differs from what is known."""
