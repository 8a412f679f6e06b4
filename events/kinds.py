"""All kinds of events, each with its severity, its sentence and when it is recorded.

``manage.py event_kinds`` writes ``docs/reference/events.md`` from this file.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum


class Severity(IntEnum):
    """How urgent an event is. The order of the numbers is the order of the severities; the API
    shows the names in lower case.
    """

    INFO = 10
    WARNING = 20
    ERROR = 30
    CRITICAL = 40

    @property
    def wire(self) -> str:
        """The name on the wire."""
        return self.name.lower()


INFO, WARNING, ERROR, CRITICAL = Severity

OBJECTS = ("volume", "snapshot", "replica", "host", "tenant", "backend", "task", "token", "user")
"""Types of objects. Facts of these names are ids of objects that an event is about."""


@dataclass(frozen=True)
class Sentence:
    """What a kind is called, and what it says.

    ``text``: a template of the facts of the event. ``when``: when it is recorded, for the
    reference. A fact that the template does not name is shown in the details only.
    """

    name: str
    severity: Severity
    text: str
    when: str


class Kind(Enum):
    """The kinds. Names are a promise to clients: a kind is never renamed, and never reused."""

    # volumes and snapshots
    VOLUME_CREATED = Sentence(
        "VolumeCreated",
        INFO,
        "Volume {alias} of {capacityGiB} GiB was created on {backend}",
        "Nodes are chosen for a new volume, before they create it. `placement` says why these, "
        "`refused` how many each filter excluded. If they fail, `VolumeAborted` follows.",
    )
    VOLUME_CLONED = Sentence(
        "VolumeCloned",
        INFO,
        "Volume {alias} of {capacityGiB} GiB was created on {backend} as a clone of {source}",
        "As `VolumeCreated`, for a clone.",
    )
    SNAPSHOT_VOLUME_CREATED = Sentence(
        "SnapshotVolumeCreated",
        INFO,
        "Snapshot volume {alias} of {capacityGiB} GiB was created on {backend} for snapshot "
        "{snapshot}",
        "As `VolumeCreated`, for a snapshot volume.",
    )
    VOLUME_ABORTED = Sentence(
        "VolumeAborted",
        WARNING,
        "Volume {alias} could not be created and is removed again",
        "No node created the volume in time, or the process that was creating it died.",
    )
    VOLUME_EXPANDED = Sentence(
        "VolumeExpanded",
        INFO,
        "Volume {alias} is expanded to {capacityGiB} GiB",
        "The space of an expansion is claimed. An expansion is always completed.",
    )
    VOLUME_DELETED = Sentence(
        "VolumeDeleted",
        INFO,
        "Volume {alias} was deleted",
        "A volume is marked as deleted, before its nodes remove it.",
    )
    VOLUME_PUBLISHED = Sentence(
        "VolumePublished",
        INFO,
        "Volume {alias} was published to host {host}",
        "A volume is published to a host, before its nodes export it.",
    )
    VOLUME_UNPUBLISHED = Sentence(
        "VolumeUnpublished",
        INFO,
        "Volume {alias} was unpublished from host {host}",
        "A volume is unpublished from a host, before its nodes stop to export it.",
    )
    SNAPSHOT_CREATED = Sentence(
        "SnapshotCreated",
        INFO,
        "Snapshot {alias} of volume {volume} was taken on {backend}",
        "The space of a snapshot is claimed, before its node takes it.",
    )
    SNAPSHOT_ABORTED = Sentence(
        "SnapshotAborted",
        WARNING,
        "Snapshot {alias} could not be taken and is removed again",
        "The node did not take the snapshot in time, or the process died.",
    )
    SNAPSHOT_DELETED = Sentence(
        "SnapshotDeleted",
        INFO,
        "Snapshot {alias} was deleted",
        "A snapshot is marked as deleted, before its node removes it.",
    )
    PLACEMENT_REFUSED = Sentence(
        "PlacementRefused",
        WARNING,
        "No place for volume {alias} of {capacityGiB} GiB",
        "A create was refused because nodes, space or budget are missing; at most one event each "
        "minute of each tenant and process, which counts those since the one before.",
    )

    # replicas
    REPLICAS_PLACED = Sentence(
        "ReplicasPlaced",
        INFO,
        "{count} more replica(s) of volume {alias} are made on {backend}",
        "Nodes are chosen for more replicas: one was added or replaced, or a volume moves. "
        "`placement` and `refused` are those of `VolumeCreated`.",
    )
    REPLICA_STATE_CHANGED = Sentence(
        "ReplicaStateChanged",
        INFO,
        "Replica {replica} on {backend} is {state}",
        "A host reports another state of a replica, or a copy has filled it. `former` is the state "
        "before.",
    )
    REPLICA_MISSING = Sentence(
        "ReplicaMissing",
        ERROR,
        "Replica {replica} on {backend} is Missing",
        "A node lost a replica, a host cannot reach it, or its node was removed by force.",
    )
    REPLICA_READOPTED = Sentence(
        "ReplicaReadopted",
        WARNING,
        "Replica {replica} on {backend} belongs to its volume again",
        "A node that was removed by force came back, and one of its replicas was taken back.",
    )
    REPLICA_REMOVED = Sentence(
        "ReplicaRemoved",
        INFO,
        "Replica {replica} on {backend} was removed",
        "A replica is marked as deleted, while its volume stays.",
    )
    REPLICA_REPLACED = Sentence(
        "ReplicaReplaced",
        INFO,
        "Replica {replica} on {backend} replaces replica {former}",
        "A rebuild or a move ended: the new replica is complete, and the former one goes.",
    )
    EXPORTS_LOST = Sentence(
        "ExportsLost",
        WARNING,
        "Node {backend} lost {count} export(s), which are created again",
        "A node check found exports missing or wrong.",
    )
    DATA_LOST = Sentence(
        "DataLost",
        CRITICAL,
        "The last copy of volume {alias} is Missing",
        "A node lost the last replica of a volume, or its node was removed by force. Hosts lose "
        "data unless the node comes back with it.",
    )
    SNAPSHOT_LOST = Sentence(
        "SnapshotLost",
        CRITICAL,
        "Node {backend} lost snapshot {alias}",
        "A node check did not find a snapshot on its node; recorded once.",
    )

    # nodes
    BACKEND_ADDED = Sentence(
        "BackendAdded",
        INFO,
        "Node {name} with {ssds} SSDs was added",
        "A storage node is added to the pool.",
    )
    BACKEND_CHANGED = Sentence(
        "BackendChanged",
        INFO,
        "Settings of node {backend} were changed: {fields}",
        "Rack, zone, region, host id or token of a node is changed.",
    )
    BACKEND_MOVED = Sentence(
        "BackendMoved",
        INFO,
        "Node {backend} has the management addresses {addresses}, port {port}",
        "An operator changes the addresses of a node, or the node reports others.",
    )
    BACKEND_CORDONED = Sentence(
        "BackendCordoned",
        INFO,
        "Node {backend} was cordoned",
        "A node gets no new replicas (`inUse` false).",
    )
    BACKEND_UNCORDONED = Sentence(
        "BackendUncordoned",
        INFO,
        "Node {backend} was uncordoned",
        "A node gets new replicas again (`inUse` true).",
    )
    BACKEND_REMOVED = Sentence(
        "BackendRemoved",
        WARNING,
        "Node {backend} was removed with {replicas} replica(s) on it",
        "A node is removed from the pool. With replicas on it, it was removed by force, and they "
        "are Missing.",
    )
    BACKEND_UNAVAILABLE = Sentence(
        "BackendUnavailable",
        ERROR,
        "Node {backend} is Unavailable",
        "A node sent no probe, or answered no call, for three probe intervals. A job looks every "
        "POLL_INTERVAL_SECONDS.",
    )
    BACKEND_AVAILABLE = Sentence(
        "BackendAvailable",
        INFO,
        "Node {backend} is Available again",
        "A node that was Unavailable probes and answers again.",
    )
    DRAIN_STARTED = Sentence(
        "DrainStarted",
        INFO,
        "Drain of node {backend} with {replicas} replica(s) began",
        "A drain is started. The node is cordoned.",
    )
    DRAIN_FINISHED = Sentence(
        "DrainFinished",
        INFO,
        "Node {backend} holds no replica any more: {replicas} left it",
        "The last replica left a node that is being drained. The node stays cordoned.",
    )
    DRAIN_STOPPED = Sentence(
        "DrainStopped",
        INFO,
        "Drain of node {backend} was stopped with {replicas} replica(s) left",
        "A drain is stopped by an operator.",
    )
    ORPHAN_FOUND = Sentence(
        "OrphanFound",
        WARNING,
        "Node {backend} holds {type} {name}, which no object of the pool knows",
        "A node check finds an object that the database does not know.",
    )
    ORPHAN_REMOVED = Sentence(
        "OrphanRemoved",
        INFO,
        "Orphaned {type} {name} was removed from node {backend}",
        "The grace period of an orphan is over, or an operator discarded it.",
    )

    # hosts and tenants
    HOST_ADDED = Sentence(
        "HostAdded",
        INFO,
        "Host {name} reported for the first time",
        "A host, or a driver on its behalf, sends its first probe.",
    )
    HOST_NQN_CHANGED = Sentence(
        "HostNqnChanged",
        WARNING,
        "Host {host} has the NQN {nqn}",
        "A known host probes with another NQN. `former` is the NQN before.",
    )
    HOST_REMOVED = Sentence(
        "HostRemoved",
        INFO,
        "Host {host} was removed",
        "A host is removed and its volumes are unpublished, or another host took over its NQN.",
    )
    HOST_UNAVAILABLE = Sentence(
        "HostUnavailable",
        WARNING,
        "Host {host} is Unavailable",
        "A host did not probe for three of its intervals. The same job looks for it.",
    )
    HOST_AVAILABLE = Sentence(
        "HostAvailable",
        INFO,
        "Host {host} is Available again",
        "A host that was Unavailable probes again.",
    )
    TENANT_CREATED = Sentence(
        "TenantCreated",
        INFO,
        "Tenant {tenant} was created with a budget of {capacityGiB} GiB",
        "A tenant is created; a budget of 0 is no limit.",
    )
    TENANT_CHANGED = Sentence(
        "TenantChanged",
        INFO,
        "Tenant {tenant} has a budget of {capacityGiB} GiB",
        "The budget of a tenant is changed; 0 is no limit.",
    )
    TENANT_DELETED = Sentence(
        "TenantDeleted", INFO, "Tenant {tenant} was deleted", "A tenant is deleted."
    )

    # tasks
    TASK_BEGUN = Sentence(
        "TaskBegun",
        INFO,
        "Task {type} began",
        "A task is created, for a worker or for a host. Tasks that only read the inventory are "
        "recorded when they fail.",
    )
    TASK_FINISHED = Sentence("TaskFinished", INFO, "Task {type} is FINISHED", "A task ended well.")
    TASK_FAILED = Sentence(
        "TaskFailed",
        ERROR,
        "Task {type} is FAILED",
        "A task ended with an error, and its steps are undone.",
    )
    TASK_ABORTED = Sentence(
        "TaskAborted",
        WARNING,
        "Task {type} was ABORTED",
        "A task was stopped by a client, or by a change that is more important.",
    )

    # access and the pool
    LOGINS_REFUSED = Sentence(
        "LoginsRefused",
        WARNING,
        "{count} login(s) were refused",
        "A wrong password, an invalid or revoked token, or too many tries; at most one event each "
        "minute of each API process, which counts those since the one before.",
    )
    TOKENS_ISSUED = Sentence(
        "TokensIssued",
        INFO,
        "{count} token(s) were issued to {user}",
        "`POST /token` issued a token; at most one event each minute of each user and API process, "
        "which counts those since the one before. Also `manage.py token_create`.",
    )
    TOKEN_REVOKED = Sentence(
        "TokenRevoked",
        WARNING,
        "Token {token} was revoked",
        "A token is revoked in the administration, or by `manage.py token_revoke`.",
    )
    USER_CREATED = Sentence(
        "UserCreated",
        INFO,
        "User {user} was created with the roles {roles}",
        "`manage.py user_create`.",
    )
    AUTHORIZATION_SERVER_SET = Sentence(
        "AuthorizationServerSet",
        WARNING,
        "Tokens of {tokenUrl} are accepted",
        "An authorization server is set.",
    )
    AUTHORIZATION_SERVER_REMOVED = Sentence(
        "AuthorizationServerRemoved",
        WARNING,
        "Local tokens are accepted again",
        "The authorization server is removed.",
    )
    LICENSE_INSTALLED = Sentence(
        "LicenseInstalled",
        INFO,
        "A licence for {maxBackends} nodes is in force",
        "The task that installs a licence ended well.",
    )
    SYSLOG_SERVERS_CHANGED = Sentence(
        "SyslogServersChanged",
        INFO,
        "The pool has {count} syslog server(s)",
        "The syslog servers that the pool uses have changed on the node that names them.",
    )
    WRITES_BARRED = Sentence(
        "WritesBarred",
        CRITICAL,
        "All changes are refused",
        "The database may be older than the nodes.",
    )

    @property
    def wire(self) -> str:
        """The name on the wire and in the database."""
        return self.value.name
