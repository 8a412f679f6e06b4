"""The storage-node API: the types that the provisioner's client and the node's agent share.

JSON over HTTPS, camelCase on the wire, sizes in bytes, bandwidth in bytes per second. Every write
is an idempotent PUT, PATCH or DELETE of a named object: repeating a call gives the same state and a
success.

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

A PUT answers 201 when it created the object and 200 when the object existed as requested (a
namespace: or was changed to that), a PATCH 200, both without a body. A DELETE answers 204, also if
the object is gone already; its generation is the query ``?generation=n``. Every other answer is a
:class:`Refusal` with a 4xx status: nothing was changed.

**Generation.** Each write carries the generation of the database row behind it. For one name the
generation only grows. A node remembers the highest one it saw, also after a removal, and refuses
older ones (``STALE``), so a delayed request never overrides a later decision. A removal with
generation *g* also bars later writes with *g*. A volume or snapshot keeps its generation for life:
a write with another one is a ``CONFLICT`` while it exists. Removed names are remembered for at
least 24 hours. Volumes and snapshots have separate names: one of each may have the same uuid.

**Create and change.** PUT creates a volume and never changes one: if an existing volume differs in
anything, also in size or limits, the answer is ``CONFLICT``. PATCH changes an existing volume to
the whole :class:`VolumeSpec` and never creates one. A change, namespace, snapshot, sync or source
that refers to an object which the node does not have is ``NOT_FOUND``. If the data plane lost an
object, or a piece of it, the object counts as missing. A repeated PUT is then ``NOT_FOUND`` too, so
an empty object never replaces a lost one. An object on a missing SSD is not listed, and is
``UNAVAILABLE``.

**Sync.** A node copies one of its volumes as a whole into a namespace of another node's target, to
which it connects as a host does. The copy goes on after the PUT is answered. It fails when the
target is removed, which is the certain way to stop it. It does not survive a restart of the engine
or agent: a GET then finds none, and a PUT starts again. It ends with the volume. The data plane may
still write a copy that FAILED, was stopped or was forgotten, until its target is removed. Meanwhile
the PUT and DELETE of the sync and the DELETE of the volume are ``UNAVAILABLE``.

**Pool and owner.** A node belongs to the pool of the provisioner whose settings it has. It refuses
settings of another pool unless they say ``takeOver``, and new objects of another pool
(``CONFLICT``). ``DELETE /v1/node/provisioner?pool=uuid`` releases it. A node that joins a pool
which it does not remember creates no volume of a generation up to ``newestGeneration``, because it
may have forgotten the removal of that volume. Volumes and snapshots carry an ``owner``, which the
node keeps. A write with another owner is a ``CONFLICT``, even if the generation is the same. An
object without an owner gets one with the next write.

**In use.** A volume that is exported or has snapshots, and a snapshot that has a snapshot volume,
are not removed (``IN_USE``). A clone does not keep its source from being removed.
"""

from enum import StrEnum
from typing import Self

from pydantic import Field

from inventory.nodes.portal_transports import TCP
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
"""The imported names that belong to the API."""


class RefusalCode(StrEnum):
    """The reason why a node refused a call. Nothing was changed."""

    INVALID = "INVALID"  # the request cannot be understood or breaks a rule of the field
    UNAUTHORIZED = "UNAUTHORIZED"
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"  # it exists, but differs; the message names both values
    IN_USE = "IN_USE"  # exported, or has snapshots, or a snapshot volume
    ID_IN_USE = "ID_IN_USE"  # the namespace id recently belonged to another volume
    NO_SPACE = "NO_SPACE"
    STALE = "STALE"  # a later generation was seen
    UNAVAILABLE = "UNAVAILABLE"  # the engine is not up, or an SSD is missing


class Refusal(Wire):
    code: RefusalCode
    message: str


class Portal(Wire):
    """An address where NVMe-oF targets listen. ``transport``: see :mod:`.portal_transports`."""

    ip: str = Field(max_length=255)
    port: int = Field(ge=1, le=65535)
    transport: str = Field(default=TCP, max_length=64)


class Ssd(Wire):
    """A drive. ``outgrown``: the number of bytes that thin volumes and snapshots use beyond their
    ``allocated``. These are not free either. ``block_sizes``: the block sizes that its volumes can
    have.
    """

    ssd_id: str = Field(min_length=1, max_length=255)
    name: str = Field(max_length=255)
    capacity: BytesOfSsd
    free: BytesOfSsd
    outgrown: BytesOfSsd = 0
    block_sizes: tuple[int, ...] = Field(default=(512, 4096), max_length=16)
    certified: bool = True


class Node(Wire):
    """Identity, pool and state of a node. ``boot_id`` changes at each start of the engine.
    ``expands_spans_online``: a volume on several SSDs can be expanded while it is exported.
    ``enforces_limits``: the node can limit IOPS and bandwidth of a volume.
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
    enforces_limits: bool = True
    pool: PoolIdentity | None = None
    newest_generation: NewestGeneration = 0

    @property
    def certified(self) -> bool:
        """Whether all SSDs are certified (reference, "List Backends")."""
        return all(ssd.certified for ssd in self.ssds)


class Tag(Wire):
    name: str
    value: str


class AuthorizationServer(Wire):
    """The server from which a node gets the tokens for its probes, by client credentials
    (reference, "Probe"). These fields are not in the reference: ``scope``, ``jwk_set_url`` (used
    without ``public_key``), and ``ca_certificate``, the PEM that the node trusts for ``token_url``
    (empty: the CAs of the system).
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
    """The settings that a node needs to send probes to its provisioner. The bearer of a probe is
    ``token``, or a token of the authorization server if there is one. ``take_over``: the node
    leaves another pool for this one.
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
    """The licence of the provisioner to whose pool the node belongs. Empty: none is installed."""

    license: str = Field(default="", max_length=8192, repr=False)


class ProvisioningType(StrEnum):
    THICK = "THICK"
    THIN = "THIN"


class Piece(Wire):
    """The part of a volume on one SSD. ``allocated``: bytes taken from the free space of the
    SSD.
    """

    ssd_id: str
    capacity: Bytes
    allocated: Bytes


class Qos(Wire):
    """The limits that the node enforces: IOPS, and bytes per second. 0 means no limit."""

    max_iops: Bytes = 0
    max_bw: Bytes = 0


class SourceKind(StrEnum):
    """The kind of source of a volume, and how the volume depends on it."""

    READ_ONLY_SNAPSHOT_VOLUME = "READ_ONLY_SNAPSHOT_VOLUME"  # shows a snapshot; never written
    WRITABLE_SNAPSHOT_VOLUME = "WRITABLE_SNAPSHOT_VOLUME"  # starts as a snapshot, depends on it
    CLONE_OF_VOLUME = "CLONE_OF_VOLUME"  # starts with the volume's content; independent afterwards
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
    """A volume or snapshot of the node. A newer one of the same name has another ``generation``."""

    kind: SourceKind
    uuid: Identifier
    generation: Generation


class VolumeSpec(Wire):
    """The wanted state of a volume. The provisioner chooses the layout; the node keeps it to the
    byte.

    Capacities are multiples of the block size (512 or 4096), at least one block. An SSD holds at
    most one piece of a volume. A THICK piece takes its capacity or more from its SSD; a THIN piece
    takes its capacity or less. A PATCH of the same generation may make pieces larger, append
    pieces, and change the QoS and the owner's ``alias``, ``complete`` and ``more``; nothing else.

    With a ``source``, the volume is THIN and has the block size of the source, and its first pieces
    are on the SSDs of the source's pieces. They have the same capacities for a snapshot volume, and
    the same or larger ones for a clone. Only the creation uses the source. A snapshot has at most
    one snapshot volume. A read-only snapshot volume is never expanded.
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
    """A volume. ``enforced_qos``: ``qos``, rounded up to values that the node can enforce."""

    uuid: Identifier
    exported: bool = False
    enforced_qos: Qos = Qos()


class VolumeList(Wire):
    volumes: tuple[Volume, ...]


class SnapshotSpec(Wire):
    """A snapshot of the node's volume ``volume_uuid`` of generation ``volume_generation``.
    ``pieces`` have the capacities that the pieces of the volume had when the snapshot was taken.
    ``allocated`` is the reserved space of the snapshot itself on each SSD. The snapshot does not
    change later, even if the volume is expanded. A read-only snapshot volume has no snapshots.
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
    """A volume in a target. The target, with its listeners on all portals, is created together with
    the first namespace. It is removed after the last namespace, when hosts had time to notice. Only
    ``host_nqn`` may connect. A PUT of a later generation may change it for the whole target.

    ``nsid``: an id that belonged to another volume within the last hour is refused (``ID_IN_USE``).
    ``controllers``: ids of this node only. Ids that overlap different, earlier ids of the node are
    refused (``CONFLICT``). A target with other ids is recreated when no host is connected to it.
    ``by_piece``: used to copy a volume that spans SSDs. Each piece is a namespace, with ids from
    ``nsid`` on, and no other volume is in the target.
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
    """A target. ``connected_hosts``: NQNs of hosts with a session. ``controllers``: their ids."""

    nqn: Nqn
    host_nqn: Nqn
    listeners: tuple[Portal, ...]
    namespaces: tuple[Namespace, ...]
    connected_hosts: tuple[str, ...] = ()
    controllers: ControllerIds | None = None


class SyncSpec(Wire):
    """A copy of this volume into the namespace ``nsid`` of the target ``nqn``. The node connects as
    ``host_nqn``, over TCP. ``generation`` is that of the destination volume. ``volume_generation``
    is that of the source volume, to which no host may write during the copy. The destination is
    new, at least as large, and has the same block size. If the source spans SSDs, the destination
    has pieces of the same sizes and is exported ``by_piece``. The same PUT again finds the copy, or
    restarts it if it FAILED. Only the ``portals`` of the target may then differ. A later generation
    replaces the copy.
    """

    generation: Generation
    volume_generation: Generation
    nqn: Nqn
    nsid: int = Field(ge=1, lt=2**32 - 1)
    host_nqn: Nqn
    portals: tuple[Portal, ...] = Field(min_length=1)

    def is_same(self, other: "SyncSpec") -> bool:
        """Whether all fields except the portals are equal."""
        mine, others = (
            {name: getattr(one, name) for name in SyncSpec.model_fields if name != "portals"}
            for one in (self, other)
        )
        return mine == others


class SyncState(StrEnum):
    RUNNING = "RUNNING"
    DONE = "DONE"  # every byte is at the destination
    FAILED = "FAILED"  # it does not continue by itself; the message says why


class Sync(SyncSpec):
    """A copy and its progress. ``bytes_done`` never decreases while it runs."""

    state: SyncState
    bytes_done: Bytes
    bytes_total: Bytes
    message: str = ""


class TargetList(Wire):
    targets: tuple[Target, ...]
