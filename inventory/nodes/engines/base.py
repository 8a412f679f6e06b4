"""The interface between the node agent and an engine.

An engine keeps volumes, with their contents, when it restarts. It may lose QoS limits and targets;
the agent sets these again after each start.

Every method is repeatable: if it is called again after a failure or a crash at any point, it ends
in the state that its docstring describes.

The agent never runs two calls for the same volume, snapshot or target at once. Taking or removing a
snapshot counts as a call for its volume, and creating a volume as a call for its source. Reading a
copy does not count. Calls for different objects overlap.

The agent, not the engine, checks whether a volume has snapshots, and whether a snapshot has a
snapshot volume.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Set
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

RESULT_SECONDS = 600.0
"""An SSD that failed is not tried again so soon after the end of a copy, unless the provisioner has
removed the copy. The restart of the engine would forget the result.
"""
NOTICE_SECONDS = 1.0
"""Time after which a Linux host has noticed that namespaces were removed (measured)."""

VERSION = "3.22.1"
"""Version of the node's software. The provisioner accepts nodes of its own major version."""


@dataclass(frozen=True)
class EngineFacts:
    """The present properties of the engine. Bandwidth is in bytes per second.

    ``expands_spans_online``: the engine can expand a volume on several SSDs while it is exported.
    ``enforces_limits``: it can limit IOPS and bandwidth of a volume.
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
    enforces_limits: bool = True


@dataclass(frozen=True)
class TargetState:
    """The wanted state of a target: the host that may connect, and the volume of each namespace id.

    ``by_piece``: the target has one volume, and each piece of it is a namespace. The first piece
    has the id in ``namespaces``; the others have the ids that follow. ``controllers``: the ids that
    its controllers must have; None: any.
    """

    nqn: str
    host_nqn: str
    namespaces: dict[int, str]
    by_piece: bool = False
    controllers: ControllerIds | None = None


@dataclass(frozen=True)
class Known:
    """The objects in the records of the agent. ``targets`` holds NQNs."""

    volumes: Mapping[str, VolumeSpec]
    snapshots: Mapping[str, SnapshotSpec]
    targets: Set[str]


@dataclass(frozen=True)
class Held:
    """The volumes and snapshots that are present now with all their pieces, by uuid. Objects on
    absent SSDs are not included.
    """

    volumes: Set[str] = frozenset()
    snapshots: Set[str] = frozenset()


class VolumesLeftOut(Exception):
    """The target is as described, but without these volumes. All their pieces are present, and the
    engine could not make them ready for hosts.
    """

    def __init__(self, nqn: str, uuids: Iterable[str]) -> None:
        self.uuids = frozenset(uuids)
        super().__init__(f"target {nqn} is without {', '.join(sorted(self.uuids))}")


class Engine(Protocol):
    """The operations of an engine.

    :raises NodeRefused: from any method: nothing was changed. After any other exception the change
        may have been made.
    """

    on_change: Callable[[int], None]
    """The agent sets it. The engine calls it in the event loop: with bits of ``Changes`` after its
    portals changed, with 0 after its SSDs or their capacities changed.
    """

    @property
    def absent_ssds(self) -> frozenset[str]:
        """The SSDs of the node that cannot be used now. The objects on them exist, but cannot be
        reached. Only ``start`` changes this set.
        """

    async def start(self) -> None:
        """Start the engine. Returns when the other methods work. QoS limits and targets may be
        lost.

        The engine no longer knows any copy. A copy that was started before the restart may still
        write, and its source stays, until the copy ends or its target is removed. Until then
        ``stop_copy`` is refused.
        """

    async def facts(self) -> EngineFacts:
        """Return the present properties of the engine."""

    async def held(self, only: Held | None = None) -> Held:
        """Return the objects in the data plane, whether the agent has them on record or not.
        Incomplete volumes and snapshots are included. ``only``: other objects than these may be
        omitted.
        """

    async def create_volume(self, uuid: str, spec: VolumeSpec) -> None:
        """Create the volume with these pieces. No part of it may exist before.

        It reads as its source. Beyond the end of the source, or without a source, it reads as
        zeros. A read-only volume cannot be written. The caller sets the QoS limits afterwards.

        :raises NodeRefused: NO_SPACE; NOT_FOUND: an SSD or the source does not exist; CONFLICT: the
            volume exists. No part of the volume is left.
        """

    async def expand_volume(self, uuid: str, spec: VolumeSpec) -> None:
        """Expand each piece of the existing volume to its size, and append the pieces that follow.
        A piece that should exist already is never created.

        :raises NodeRefused: NOT_FOUND: the volume, one of its pieces or an SSD does not exist;
            NO_SPACE; CONFLICT: the volume would have to shrink or change. All pieces stay as they
            were.
        """

    async def remove_volume(self, uuid: str) -> None:
        """Remove the volume and free its space. Its content can never be read again, except where a
        clone or snapshot shares it.
        """

    async def ensure_snapshot(self, uuid: str, spec: SnapshotSpec) -> None:
        """Ensure that the snapshot exists. A new one shows the content of its volume, which exists,
        at some moment during the call.

        :raises NodeRefused: NO_SPACE: there is no room for its reserved space; NOT_FOUND: the
            volume does not exist. Nothing changes.
        """

    async def remove_snapshot(self, uuid: str) -> None:
        """Remove the snapshot and free its space. Its volume and all clones stay as they are."""

    async def set_qos(self, uuid: str, qos: Qos) -> None:
        """Limit an existing volume to the result of ``enforced`` for ``qos``."""

    def enforced(self, qos: Qos) -> Qos:
        """Return the limits that the engine can enforce for ``qos``. They are never lower than
        ``qos``.
        """

    async def apply_target(self, target: TargetState) -> None:
        """Make the target exactly as described, listening on all portals, including those that
        appear later.

        Each namespace has the uuid of its volume. When the call returns, hosts that lost access are
        disconnected. An existing target keeps its controller ids while a host is connected.
        Otherwise it is recreated with the ids in ``target``.

        Missing volumes, and those on absent SSDs, are omitted.

        :raises VolumesLeftOut: volumes that are present are not in the target yet.
        """

    async def empty_target(self, nqn: str) -> None:
        """Remove all namespaces from the target. Connected hosts are notified and stay
        connected. A target that does not exist counts as empty.
        """

    async def remove_target(self, nqn: str) -> None:
        """Remove the target and disconnect its hosts.

        A Linux host that saw namespaces in it keeps waiting for them, and all I/O to them hangs. So
        callers call ``empty_target`` NOTICE_SECONDS before.
        """

    async def start_copy(self, uuid: str, spec: SyncSpec) -> None:
        """Start to copy an existing volume of which no copy is known.

        The engine connects to the target as the host in ``spec``, copies, and disconnects. ``copy``
        reports every failure, also an immediate one. No host may write to the volume during the
        copy. Ranges that were never written need not be written at the destination, because the
        destination is new, or contains only data from copies of the same content.
        """

    async def copy(self, uuid: str) -> Sync | None:
        """Return the progress or result of the latest copy of the volume, until the copy is stopped
        or lost by a restart. DONE: everything can be read at the destination.
        """

    async def stop_copy(self, uuid: str) -> None:
        """Stop and forget the copy of the volume. On return, no copy of the volume writes any more,
        not even one that was started before the engine restarted.

        If a copy cannot be cancelled, the engine disconnects it and waits some seconds for its end.
        Removing the target of the copy ends it.

        :raises NodeRefused: UNAVAILABLE: the copy is still running.
        """

    async def target_names(self) -> tuple[str, ...]:
        """The NQNs of all targets."""

    async def connected_hosts(
        self, only: Collection[str] | None = None
    ) -> dict[str, tuple[str, ...]]:
        """Return the NQNs of the hosts that have a session now, by target NQN. ``only``: other
        targets than these may be omitted.
        """

    async def controllers(self, only: Collection[str] | None = None) -> dict[str, ControllerIds]:
        """Return the ids that the controllers have now, by target NQN. ``only``: see
        ``connected_hosts``.
        """

    async def drift(self, known: Known) -> tuple[DriftItem, ...]:
        """The differences between the data plane and ``known``."""
