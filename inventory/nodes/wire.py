"""The storage-node API: the types that the provisioner's client and the node's agent share.

JSON over HTTPS, camelCase on the wire, sizes in bytes, bandwidth in bytes per second. Every write
is an idempotent PUT, PATCH or DELETE of a named thing: the same call twice gives the same state and
a success.

==================================================  ===========================================
``GET /v1/node``                                    :class:`Node`
``GET /v1/node/strays``                             :class:`~inventory.nodes.drift.Drift`
``PUT, DELETE /v1/node/provisioner``                :class:`ProvisionerSettings`
``GET, PUT /v1/node/license``                       :class:`License`
``GET, PUT /v1/node/syslogs``                       :class:`~inventory.nodes.syslogs.SyslogServers`
``GET /v1/volumes``                                 :class:`VolumeList`
``GET, PUT, DELETE /v1/volumes/{uuid}``             :class:`Volume`, in: :class:`VolumeSpec`
``PATCH /v1/volumes/{uuid}``                        in: :class:`VolumeSpec`
``GET, PUT, DELETE /v1/volumes/{uuid}/sync``        :class:`Sync`, in: :class:`SyncSpec`
``GET /v1/snapshots``                               :class:`SnapshotList`
``GET, PUT, DELETE /v1/snapshots/{uuid}``           :class:`Snapshot`, in: :class:`SnapshotSpec`
``GET /v1/targets``                                 :class:`TargetList`
``GET /v1/targets/{nqn}``                           :class:`Target`
``PUT, DELETE /v1/targets/{nqn}/namespaces/{uuid}`` :class:`NamespaceSpec`
==================================================  ===========================================

A PUT answers 201 when it made the thing and 200 when it was there as asked (a namespace: or was
changed to it), a PATCH 200, both without a body. A DELETE answers 204, also for what is gone
already; its generation is the query ``?generation=n``.
Everything else is a :class:`Refusal` with a 4xx status: nothing was done.

**Generation.** Each write carries the generation of the row that wants it, a number that only grows
for one name. A node remembers, also after a removal, the highest one it saw and refuses older ones
(``STALE``): a request that was delayed on the way can never undo or redo what was decided after it.
A removal with generation *g* also bars later writes with *g* itself. A volume keeps its generation
for life, and so does a snapshot: a write with another one is a ``CONFLICT`` while it is there. What
was removed is remembered for 24 hours at least. Volumes and snapshots are named apart: one of each
may have the same uuid.

**Create and change.** The PUT of a volume creates it and changes nothing: where anything different
is there, also in size or limits, it is a ``CONFLICT``. A PATCH changes what is there, to the whole
:class:`VolumeSpec`, and creates nothing. What refers to something that the node does not have is
``NOT_FOUND``: a change, a namespace, a snapshot, a sync, a source. What a node made once and its
data plane has lost, or a piece of it, counts as not there, also for a repeated PUT: nothing empty
takes its place. What lies on an SSD that is missing is not listed, and ``UNAVAILABLE``.

**Sync.** A node copies a volume of its own, whole, into a namespace of another node's target, which
it connects to as a host does. The copy runs on after the PUT is answered; it fails when the target
goes, which is how a copy is stopped for certain. It is not kept over a restart of the engine or the
agent: a GET then finds none, and a PUT begins anew. It ends with the volume. While the data plane
still writes one that FAILED, was stopped or forgotten, until its target goes, the PUT and DELETE of
the sync and the DELETE of the volume are ``UNAVAILABLE``.

**Pool and owner.** A node belongs to the pool whose provisioner's settings it has. It refuses
settings of another pool, unless they say ``takeOver``, and new things that are not of its own pool
(``CONFLICT``); ``DELETE /v1/node/provisioner?pool=uuid`` lets it go. A node that joins a pool which
it does not remember makes no volume of a generation handed out by then (``newestGeneration``): it
may have forgotten its removal. Volumes and snapshots carry an ``owner``, which the node keeps. What
is there with an owner is never taken for another owner's, also where the generation is the same
(``CONFLICT``); what was made without one gets it with the next write.

**In use.** A volume that is exported or has snapshots, and a snapshot that has a snapshot volume,
are not removed (``IN_USE``). A clone does not hold its source.
"""

from enum import StrEnum
from typing import Self

from pydantic import Field

from inventory.nodes.target_ids import ControllerIds
from inventory.nodes.wire_base import (
    Bytes,
    BytesOfSsd,
    Generation,
    Identifier,
    NewestGeneration,
    Nqn,
    Owner,
    PerSecond,
    PoolIdentity,
    Wire,
)
from provisioner.common.limits import MOST_SSDS

__all__ = ["Bytes", "Generation", "Identifier", "Nqn", "Owner", "PoolIdentity", "Wire"]
"""Of the imported names, those that belong to the API."""


class RefusalCode(StrEnum):
    """Why a node refused; in each case nothing was done."""

    INVALID = "INVALID"  # the request cannot be understood or breaks a rule of the field
    UNAUTHORIZED = "UNAUTHORIZED"
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"  # it is there, but different; the message holds both values
    IN_USE = "IN_USE"  # exported, or has snapshots, or a snapshot volume
    ID_IN_USE = "ID_IN_USE"  # a namespace id that was another volume's lately
    NO_SPACE = "NO_SPACE"
    STALE = "STALE"  # a later generation was seen
    UNAVAILABLE = "UNAVAILABLE"  # the engine is not up, or an SSD is missing


class Refusal(Wire):
    code: RefusalCode
    message: str


class Portal(Wire):
    """Where a node's NVMe-oF targets listen; ``transport`` as the reference spells it."""

    ip: str = Field(max_length=255)
    port: int = Field(ge=1, le=65535)
    transport: str = Field(default="TCP_IP", max_length=64)


class Ssd(Wire):
    """``outgrown``: what volumes and snapshots take beyond what they allocate, as thin ones may; it
    is not free either. ``block_sizes``: those that volumes on it can have.
    """

    ssd_id: str = Field(min_length=1, max_length=255)
    name: str = Field(max_length=255)
    capacity: BytesOfSsd
    free: BytesOfSsd
    outgrown: BytesOfSsd = 0
    block_sizes: tuple[int, ...] = Field(default=(512, 4096), max_length=16)
    certified: bool = True


class Node(Wire):
    """Identity, ``pool`` and state of a node. ``boot_id`` changes at each start of the engine.
    ``expands_spans_online``: a volume on several SSDs can be expanded while it is exported.
    """

    persistent_id: Identifier
    name: str = Field(max_length=255)
    version: str = Field(max_length=64)
    target_driver_version: str = Field(max_length=64)
    host_id: Identifier | None = None
    boot_id: str = Field(max_length=255)
    total_bw: PerSecond
    total_iops: PerSecond
    authentication_mode: str = Field(default="LOCAL", max_length=255)
    portals: tuple[Portal, ...] = Field(max_length=256)
    ssds: tuple[Ssd, ...] = Field(max_length=MOST_SSDS)
    expands_spans_online: bool = False
    pool: PoolIdentity | None = None
    newest_generation: NewestGeneration = 0

    @property
    def certified(self) -> bool:
        """Reference, "List Backends": certified if all its SSDs are."""
        return all(ssd.certified for ssd in self.ssds)


class Tag(Wire):
    name: str
    value: str


class AuthorizationServer(Wire):
    """Where a node gets the tokens of its probes, by client credentials (reference, "Probe").

    ``scope``, ``jwk_set_url`` (where there is no ``public_key``) and ``ca_certificate`` (PEM that
    the node trusts when it calls ``token_url``; empty: the system's) are not the reference's.
    """

    token_url: str = Field(alias="tokenURL")
    client_id: str = Field(alias="clientID")
    client_secret: str = Field(repr=False)
    resource_id: str = Field(alias="resourceID")
    public_key: str = ""
    jwk_set_url: str = Field(default="", alias="jwkSetURL")
    scope: str = ""
    ca_certificate: str = ""


class ProvisionerSettings(Wire):
    """What a node must know to probe its provisioner.

    The bearer of its probes is ``token``, or one of the authorization server where there is one.
    ``take_over``: the node leaves another pool for this one.
    """

    name: str = Field(max_length=16)
    url: str
    push_interval: int = Field(ge=1, le=86400, description="seconds between probes")
    in_use: bool
    tags: tuple[Tag, ...] = ()
    token: str = ""
    ca_certificate: str = Field(
        default="", description="PEM that the node trusts when it calls url; empty: the system's"
    )
    authorization_server: AuthorizationServer | None = None
    pool: PoolIdentity | None = None
    take_over: bool = False
    newest_generation: NewestGeneration = 0


class License(Wire):
    """The licence of the provisioner that the node is in the pool of; empty: none was installed."""

    license: str = Field(default="", max_length=8192, repr=False)


class ProvisioningType(StrEnum):
    THICK = "THICK"
    THIN = "THIN"


class Piece(Wire):
    """The part of a volume on one SSD; ``allocated`` is what it takes from the SSD's free space."""

    ssd_id: str
    capacity: Bytes
    allocated: Bytes


class Qos(Wire):
    """Limits enforced by the node; 0 is no limit."""

    max_iops: Bytes = 0
    max_bw: Bytes = 0


class SourceKind(StrEnum):
    """What a volume is made from, and what binds it to its source."""

    READ_ONLY_SNAPSHOT_VOLUME = "READ_ONLY_SNAPSHOT_VOLUME"  # shows a snapshot; never written
    WRITABLE_SNAPSHOT_VOLUME = "WRITABLE_SNAPSHOT_VOLUME"  # begins as a snapshot, in front of it
    CLONE_OF_VOLUME = "CLONE_OF_VOLUME"  # begins as the volume is now; its own from then on
    CLONE_OF_SNAPSHOT = "CLONE_OF_SNAPSHOT"

    @property
    def is_of_snapshot(self) -> bool:
        return self is not SourceKind.CLONE_OF_VOLUME

    @property
    def is_snapshot_volume(self) -> bool:
        return self in {
            SourceKind.READ_ONLY_SNAPSHOT_VOLUME,
            SourceKind.WRITABLE_SNAPSHOT_VOLUME,
        }


class Source(Wire):
    """A volume or snapshot of the same node. ``generation`` is the source's own: another one that
    came to have its name is not meant.
    """

    kind: SourceKind
    uuid: Identifier
    generation: Generation


class VolumeSpec(Wire):
    """A volume as it must be: the layout is the provisioner's choice and is kept to the byte.

    Capacities are multiples of the block size (512 or 4096), at least one block; an SSD holds one
    piece of a volume at most. A THICK piece takes its capacity or more of its SSD, a THIN one its
    capacity or less. A PATCH, of the same generation, may make pieces larger, append pieces,
    change the QoS and what its owner tells; nothing else may change.

    With a ``source`` the volume is THIN, in blocks of its source's size, and its first pieces lie
    on the SSDs of its source's pieces: of their capacities for a snapshot volume, of these or
    larger for a clone. The source counts when the volume is made, not later. A snapshot has one
    snapshot volume at most; a read-only one never grows.
    """

    generation: Generation
    provisioning_type: ProvisioningType
    block_size: int
    pieces: tuple[Piece, ...] = Field(min_length=1)
    qos: Qos = Qos()
    source: Source | None = None
    owner: Owner | None = None

    @property
    def capacity(self) -> int:
        return sum(piece.capacity for piece in self.pieces)


class Volume(VolumeSpec):
    """``enforced_qos``: what the node enforces for ``qos``: that, rounded up to what it can."""

    uuid: Identifier
    exported: bool = False
    enforced_qos: Qos = Qos()


class VolumeList(Wire):
    volumes: tuple[Volume, ...]


class SnapshotSpec(Wire):
    """A snapshot of a volume of this node, of the generation ``volume_generation``.

    ``pieces`` are the volume's when the snapshot is taken, to the byte; ``allocated`` is the
    snapshot's own reserved space on each SSD. Nothing of it ever changes, whatever becomes of the
    volume's size. A read-only snapshot volume has no snapshots.
    """

    generation: Generation
    volume_uuid: Identifier
    volume_generation: Generation
    pieces: tuple[Piece, ...] = Field(min_length=1)
    owner: Owner | None = None


class Snapshot(SnapshotSpec):
    uuid: Identifier


class SnapshotList(Wire):
    snapshots: tuple[Snapshot, ...]


class NamespaceSpec(Wire):
    """A volume in a target. The target and its listeners on all portals come with its first
    namespace and go with its last, when hosts had time to notice that. Only ``host_nqn`` may
    connect; a PUT of a later generation may change it, for the whole target.

    ``nsid``: one that was another volume's within the last hour is refused (``ID_IN_USE``).
    ``controllers``: this node's alone. Those that overlap the ones told before are refused
    (``CONFLICT``); a target that has others is made anew when no host is connected to it.

    ``by_piece``: to copy what spans SSDs. Each piece is a namespace, from ``nsid`` on, alone there.
    """

    generation: Generation
    nsid: int = Field(ge=1, lt=2**32 - 1)
    host_nqn: Nqn
    by_piece: bool = False
    controllers: ControllerIds | None = None

    def numbered(self, controllers: ControllerIds | None) -> Self:
        return self.model_copy(update={"controllers": controllers})


class Namespace(Wire):
    volume_uuid: Identifier
    nsid: int
    generation: int


class Target(Wire):
    """``connected_hosts``: the NQNs of hosts that have a session; ``controllers``: as now."""

    nqn: Nqn
    host_nqn: Nqn
    listeners: tuple[Portal, ...]
    namespaces: tuple[Namespace, ...]
    connected_hosts: tuple[str, ...] = ()
    controllers: ControllerIds | None = None


class SyncSpec(Wire):
    """Copy this volume into the namespace ``nsid`` of the target ``nqn``, connecting as
    ``host_nqn``.

    ``generation`` is that of the volume that is filled, ``volume_generation`` that of the one that
    is read, which no host may write meanwhile. The volume that is filled is new, at least as large
    and in blocks of the same size. Where the volume that is read spans SSDs, it has pieces of the
    same sizes and is there ``by_piece``. The same PUT again finds the copy, or begins it anew if it
    FAILED; the ``portals``, where the target is now, may be others then. A later generation
    replaces it.
    """

    generation: Generation
    volume_generation: Generation
    nqn: Nqn
    nsid: int = Field(ge=1, lt=2**32 - 1)
    host_nqn: Nqn
    portals: tuple[Portal, ...] = Field(min_length=1)

    def is_same(self, other: "SyncSpec") -> bool:
        """The same but for the portals."""
        mine, others = (
            {name: getattr(one, name) for name in SyncSpec.model_fields if name != "portals"}
            for one in (self, other)
        )
        return mine == others


class SyncState(StrEnum):
    RUNNING = "RUNNING"
    DONE = "DONE"  # every byte is there
    FAILED = "FAILED"  # it does not go on by itself; the message says why


class Sync(SyncSpec):
    """``bytes_done`` never falls while it runs."""

    state: SyncState
    bytes_done: Bytes
    bytes_total: Bytes
    message: str = ""


class TargetList(Wire):
    targets: tuple[Target, ...]
