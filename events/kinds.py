"""All kinds of events: the severity and the text of each kind, and the condition under which it is
recorded.

``manage.py event_kinds`` writes ``docs/reference/events.md`` from this file.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum


class Severity(IntEnum):
    """How urgent an event is. A greater number means a higher severity. The API shows the names in
    lower case.
    """

    INFO = 10
    WARNING = 20
    ERROR = 30
    CRITICAL = 40

    @property
    def wire(self) -> str:
        """The name that clients see."""
        return self.name.lower()


INFO, WARNING, ERROR, CRITICAL = Severity

OBJECTS = ("volume", "snapshot", "replica", "host", "tenant", "backend", "task", "token", "user")
"""Types of objects. A fact with one of these names is the id of an object of the event."""


@dataclass(frozen=True)
class Sentence:
    """The name and text of a kind. ``text``: a template that the facts of the event fill. A fact
    that the template does not contain is shown only in the details. ``when``: the condition under
    which the event is recorded, for the reference page.
    """

    name: str
    severity: Severity
    text: str
    when: str


class Kind(Enum):
    """The kinds of events. Clients rely on the names, so they are never changed and never
    reused.
    """

    # volumes and snapshots
    VOLUME_CREATED = Sentence(
        "VolumeCreated",
        INFO,
        "Volume {alias} of {capacityGiB} GiB was created on {backend}",
        "Nodes were chosen for a new volume. `placement` has the reasons, `refused` the number "
        "of nodes that each filter excluded. If the nodes fail, `VolumeAborted` follows.",
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
        "Volume {alias} could not be created, and its rows are being removed",
        "No node created the volume in time, or the process that was creating it died.",
    )
    VOLUME_EXPANDED = Sentence(
        "VolumeExpanded",
        INFO,
        "Volume {alias} is expanded to {capacityGiB} GiB",
        "The space of an expansion was claimed. An expansion is always completed.",
    )
    VOLUME_DELETED = Sentence(
        "VolumeDeleted",
        INFO,
        "Volume {alias} was deleted",
        "A volume was marked as deleted. Its nodes will now remove it.",
    )
    VOLUME_PUBLISHED = Sentence(
        "VolumePublished",
        INFO,
        "Volume {alias} was published to host {host}",
        "A volume was published to a host. Its nodes will now export it.",
    )
    VOLUME_UNPUBLISHED = Sentence(
        "VolumeUnpublished",
        INFO,
        "Volume {alias} was unpublished from host {host}",
        "A volume was unpublished from a host. Its nodes will now remove the exports.",
    )
    SNAPSHOT_CREATED = Sentence(
        "SnapshotCreated",
        INFO,
        "Snapshot {alias} of volume {volume} was taken on {backend}",
        "The space of a snapshot was claimed. The node will now take the snapshot.",
    )
    SNAPSHOT_ABORTED = Sentence(
        "SnapshotAborted",
        WARNING,
        "Snapshot {alias} could not be taken, and its row is being removed",
        "The node did not take the snapshot in time, or the process that was creating it died.",
    )
    SNAPSHOT_DELETED = Sentence(
        "SnapshotDeleted",
        INFO,
        "Snapshot {alias} was deleted",
        "A snapshot was marked as deleted. Its node will now remove it.",
    )
    PLACEMENT_REFUSED = Sentence(
        "PlacementRefused",
        WARNING,
        "Volume {alias} of {capacityGiB} GiB could not be placed",
        "Creates were refused because there were not enough nodes, space or budget. "
        "Counted: 20 events a minute at most for each tenant and process.",
    )

    # replicas
    REPLICAS_PLACED = Sentence(
        "ReplicasPlaced",
        INFO,
        "{count} additional replica(s) of volume {alias} are created on {backend}",
        "Nodes were chosen for additional replicas, because a replica is added or replaced, or a "
        "volume moves. `placement` and `refused` are as in `VolumeCreated`.",
    )
    REPLICA_STATE_CHANGED = Sentence(
        "ReplicaStateChanged",
        INFO,
        "Replica {replica} on {backend} is {state}",
        "A host reported another state of a replica, or a copy to the replica is complete. "
        "`former` is the previous state.",
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
        "Replica {replica} on {backend} was readopted by its volume",
        "A node that was removed by force was added again, and one of its replicas was readopted.",
    )
    REPLICA_REMOVED = Sentence(
        "ReplicaRemoved",
        INFO,
        "Replica {replica} on {backend} was removed",
        "A replica was marked as deleted. Its volume stays.",
    )
    REPLICA_REPLACED = Sentence(
        "ReplicaReplaced",
        INFO,
        "Replica {replica} on {backend} replaces replica {former}",
        "A rebuild or a move has ended: the new replica is complete, the former one is removed.",
    )
    EXPORTS_LOST = Sentence(
        "ExportsLost",
        WARNING,
        "Node {backend} lost {count} export(s); they are created again",
        "A node check found missing or wrong exports.",
    )
    DATA_LOST = Sentence(
        "DataLost",
        CRITICAL,
        "The last current replica of volume {alias} is Missing",
        "A node lost the last replica of a volume, or the node was removed by force. The data is "
        "lost unless the node comes back with the replica.",
    )
    SNAPSHOT_LOST = Sentence(
        "SnapshotLost",
        CRITICAL,
        "Node {backend} lost snapshot {alias}",
        "A node check did not find a snapshot on its node. It is recorded once for each snapshot.",
    )

    # nodes
    BACKEND_ADDED = Sentence(
        "BackendAdded",
        INFO,
        "Node {name} with {ssds} SSDs was added",
        "A storage node was added to the pool.",
    )
    BACKEND_CHANGED = Sentence(
        "BackendChanged",
        INFO,
        "Settings of node {backend} were changed: {fields}",
        "Rack, zone, region, host id or token of a node was changed.",
    )
    BACKEND_MOVED = Sentence(
        "BackendMoved",
        INFO,
        "Node {backend} now has the management addresses {addresses}, port {port}",
        "An operator changed the addresses of a node, or the node reported other addresses.",
    )
    BACKEND_CORDONED = Sentence(
        "BackendCordoned",
        INFO,
        "Node {backend} was cordoned",
        "A node was cordoned (`inUse` false): it gets no new replicas.",
    )
    BACKEND_UNCORDONED = Sentence(
        "BackendUncordoned",
        INFO,
        "Node {backend} was uncordoned",
        "A node was uncordoned (`inUse` true): it gets new replicas again.",
    )
    BACKEND_REMOVED = Sentence(
        "BackendRemoved",
        WARNING,
        "Node {backend} was removed; it held {replicas} replica(s)",
        "A node was removed from the pool. If it held replicas, it was removed by force, and the "
        "replicas are Missing.",
    )
    BACKEND_UNAVAILABLE = Sentence(
        "BackendUnavailable",
        ERROR,
        "Node {backend} is Unavailable",
        "A node sent no probe, or answered no call, for three probe intervals. A job checks this "
        "every POLL_INTERVAL_SECONDS.",
    )
    BACKEND_AVAILABLE = Sentence(
        "BackendAvailable",
        INFO,
        "Node {backend} is Available again",
        "An Unavailable node sends probes and answers again.",
    )
    DRAIN_STARTED = Sentence(
        "DrainStarted",
        INFO,
        "The drain of node {backend} with {replicas} replica(s) began",
        "A drain was started, and the node was cordoned.",
    )
    DRAIN_FINISHED = Sentence(
        "DrainFinished",
        INFO,
        "The drain of node {backend} is done: {replicas} replica(s) were moved away",
        "The last replica of a drained node was moved away. The node stays cordoned.",
    )
    DRAIN_STOPPED = Sentence(
        "DrainStopped",
        INFO,
        "The drain of node {backend} was stopped; {replicas} replica(s) are left",
        "An operator stopped a drain.",
    )
    ORPHAN_FOUND = Sentence(
        "OrphanFound",
        WARNING,
        "Node {backend} holds {type} {name}, which the database does not know",
        "A node check found an object that the database does not know.",
    )
    ORPHAN_REMOVED = Sentence(
        "OrphanRemoved",
        INFO,
        "The orphan {type} {name} was removed from node {backend}",
        "The grace period of an orphan has expired, or an operator discarded the orphan.",
    )

    # hosts and tenants
    HOST_ADDED = Sentence(
        "HostAdded",
        INFO,
        "Host {name} sent its first probe",
        "A host, or a driver on its behalf, sent its first probe.",
    )
    HOST_NQN_CHANGED = Sentence(
        "HostNqnChanged",
        WARNING,
        "Host {host} now has the NQN {nqn}",
        "A known host probed with another NQN. `former` is the previous NQN.",
    )
    HOST_REMOVED = Sentence(
        "HostRemoved",
        INFO,
        "Host {host} was removed",
        "A host was removed and its volumes were unpublished, or another host took over its NQN.",
    )
    HOST_UNAVAILABLE = Sentence(
        "HostUnavailable",
        WARNING,
        "Host {host} is Unavailable",
        "A host sent no probe for three of its intervals.",
    )
    HOST_AVAILABLE = Sentence(
        "HostAvailable",
        INFO,
        "Host {host} is Available again",
        "An Unavailable host sends probes again.",
    )
    TENANT_CREATED = Sentence(
        "TenantCreated",
        INFO,
        "Tenant {tenant} was created with a budget of {capacityGiB} GiB",
        "A tenant was created. A budget of 0 means no limit.",
    )
    TENANT_CHANGED = Sentence(
        "TenantChanged",
        INFO,
        "Tenant {tenant} now has a budget of {capacityGiB} GiB",
        "The budget of a tenant was changed. 0 means no limit.",
    )
    TENANT_DELETED = Sentence(
        "TenantDeleted", INFO, "Tenant {tenant} was deleted", "A tenant was deleted."
    )

    # tasks
    TASK_BEGUN = Sentence(
        "TaskBegun",
        INFO,
        "Task {type} began",
        "A task was created, for a worker or for a host. Tasks that only read the inventory are "
        "recorded only if they fail.",
    )
    TASK_FINISHED = Sentence("TaskFinished", INFO, "Task {type} is FINISHED", "A task succeeded.")
    TASK_FAILED = Sentence(
        "TaskFailed",
        ERROR,
        "Task {type} is FAILED",
        "A task ended with an error, and its steps were undone.",
    )
    TASK_ABORTED = Sentence(
        "TaskAborted",
        WARNING,
        "Task {type} was ABORTED",
        "A client stopped a task, or a request with precedence aborted it.",
    )

    # access and the pool
    LOGINS_REFUSED = Sentence(
        "LoginsRefused",
        WARNING,
        "{count} login(s) were refused",
        "Wrong passwords, invalid or revoked tokens, or too many attempts. Counted: one event a "
        "minute at most for each API process.",
    )
    TOKENS_ISSUED = Sentence(
        "TokensIssued",
        INFO,
        "{count} token(s) were issued to {user}",
        "`POST /token` or `manage.py token_create` issued tokens. Counted: one event a minute at "
        "most for each user and API process.",
    )
    TOKEN_REVOKED = Sentence(
        "TokenRevoked",
        WARNING,
        "Token {token} was revoked",
        "A token was revoked in the console, or by `manage.py token_revoke`.",
    )
    USER_CREATED = Sentence(
        "UserCreated",
        INFO,
        "User {user} was created with the roles {roles}",
        "`manage.py user_create` created a user.",
    )
    AUTHORIZATION_SERVER_SET = Sentence(
        "AuthorizationServerSet",
        WARNING,
        "Tokens of the authorization server {tokenUrl} are accepted",
        "An authorization server was set.",
    )
    AUTHORIZATION_SERVER_REMOVED = Sentence(
        "AuthorizationServerRemoved",
        WARNING,
        "Local tokens are accepted again",
        "The authorization server was removed.",
    )
    LICENSE_INSTALLED = Sentence(
        "LicenseInstalled",
        INFO,
        "A licence for {maxBackends} nodes was installed",
        "The task that installs a licence has succeeded.",
    )
    SYSLOG_SERVERS_CHANGED = Sentence(
        "SyslogServersChanged",
        INFO,
        "The pool now has {count} syslog server(s)",
        "The list of syslog servers has changed on the node that keeps this list for the pool.",
    )
    WRITES_BARRED = Sentence(
        "WritesBarred",
        CRITICAL,
        "Writes are barred: all changes are refused",
        "The database may be older than the nodes.",
    )

    @property
    def wire(self) -> str:
        """The name that clients see, which is also stored in the database."""
        return self.value.name
