"""The operations of the API reference with their documented result codes, in the order of the
reference.

They were transcribed by hand, because the typesetting of the manual puts many lists after the next
heading. Codes that the provisioner adds are included.
"""

from typing import NamedTuple


class Operation(NamedTuple):
    """An operation; ``line`` is its line in the permission table."""

    title: str
    request: str
    line: str
    codes: tuple[str, ...] = ()


def _operation(title: str, request: str, line: str, codes: str = "") -> Operation:
    return Operation(title, request, line, tuple(codes.split()))


OPERATIONS = (
    _operation(
        "Add Backend",
        "POST /backends",
        "backends.create",
        "Success AlreadyExists NoGroups InvalidLocationValue NotAvailable "
        "BackendWithHostIdAlreadyExists LicenseError InvalidInput",
    ),
    _operation(
        "Update Backend",
        "PUT /backends/{id}",
        "backends.update",
        "Success NotExists AlreadyExists InvalidLocationValue NotAvailable "
        "BackendWithHostIdAlreadyExists",
    ),
    _operation(
        "Remove Backend",
        "DELETE /backends/{id}",
        "backends.destroy",
        "Success NotExists BackendHasVolumes",
    ),
    _operation("List Backends", "GET /backends", "backends.list"),
    _operation("Get Backend by ID", "GET /backends/{id}", "backends.retrieve"),
    _operation("Get Info", "GET /info", "info.list"),
    _operation("Probe", "POST /probe", "probe.create", "Success NotExists"),
    _operation(
        "Reset Inventory",
        "DELETE /reset_inventory",
        "inventory.destroy",
        "Success CommunicationError",
    ),
    _operation("Get Inventory", "GET /inventory", "inventory.list"),
    _operation(
        "Create Tenant",
        "POST /tenants",
        "tenants.create",
        "Success InvalidInput TenantAlreadyExists NoBackends",
    ),
    _operation("Get Tenants", "GET /tenants", "tenants.list"),
    _operation(
        "Modify Tenant",
        "PUT /tenants/{tenantId}",
        "tenants.update",
        "Success InvalidInput TenantNotFound NoBackends",
    ),
    _operation(
        "Delete Tenant",
        "DELETE /tenants/{tenantId}",
        "tenants.destroy",
        "Success InvalidInput TenantNotFound NoBackends TenantHasVolumes",
    ),
    _operation(
        "Create Volume",
        "POST /{tenantId}/volumes",
        "volumes.create",
        "Success AlreadyExists InvalidInput InvalidReplicas NoMatchingBackend "
        "NotEnoughMatchingBackends NoBackendWithHostIdExists TenantNotFound "
        "TenantCapacityExceeded",
    ),
    _operation(
        "Delete Volume",
        "DELETE /{tenantId}/volumes/{id}",
        "volumes.destroy",
        "Success NotExists TenantNotFound VolumeIsInUse",
    ),
    _operation("Get Volumes", "GET /{tenantId}/volumes/{id}", "volumes.retrieve", "TenantNotFound"),
    _operation(
        "Get Volume by Alias",
        "GET /{tenantId}/volumes_by_alias/{alias}",
        "volumes.by_alias",
        "TenantNotFound",
    ),
    _operation(
        "Get Volume Extended",
        "GET /{tenantId}/volume_extended/{uuid}",
        "volumes.extended",
        "TenantNotFound",
    ),
    _operation(
        "Expand Volume",
        "PATCH /{tenantId}/volumes/{id}",
        "volumes.update",
        "Success NotExists InvalidSize NoFreeSpace TenantNotFound TenantCapacityExceeded",
    ),
    _operation(
        "Add Replica",
        "POST /{tenantId}/replica/{id}",
        "replicas.create",
        "Success NotExists NotReplicated NoMatchingBackend InvalidReplicas ReplicaTerminating "
        "NoFreeSpace TopologyConstraints NotInUse SameRackNotAllowed NotAvailable "
        "NotEnoughMatchingBackends TenantNotFound TenantCapacityExceeded",
    ),
    _operation(
        "Delete Replica",
        "PATCH /{tenantId}/replica/{id}/{replicaID}",
        "replicas.mark",
        "Success NotExists NotReplicated AllReplicasDown ReplicaTerminating TenantNotFound",
    ),
    _operation(
        "Delete Replica Confirm",
        "DELETE /{tenantId}/replica/{volumeID}/{replicaID}",
        "replicas.confirm",
        "Success NotExists NoTerminating TenantNotFound",
    ),
    _operation(
        "Set Replica State",
        "PATCH /{tenantId}/replica/{id}/{replicaID}/{replicaState}",
        "replicas.report",
        "Success InvalidInput NotExists NotReplicated ReplicaTerminating TenantNotFound",
    ),
    _operation(
        "Create Snapshot",
        "POST /{tenantId}/snapshots",
        "snapshots.create",
        "Success NotExists Replicated TenantNotFound TenantCapacityExceeded",
    ),
    _operation(
        "Delete Snapshot",
        "DELETE /{tenantId}/snapshots/{id}",
        "snapshots.destroy",
        "Success NotExists TenantNotFound VolumeIsInUse",
    ),
    _operation(
        "Get Snapshots", "GET /{tenantId}/snapshots/{id}", "snapshots.retrieve", "TenantNotFound"
    ),
    _operation(
        "Get Snapshots by Volume",
        "GET /{tenantId}/snapshots_by_vol/{volID}",
        "snapshots.by_volume",
        "TenantNotFound",
    ),
    _operation(
        "Get Snapshots by Alias",
        "GET /{tenantId}/snapshots_by_alias/{alias}",
        "snapshots.by_alias",
        "TenantNotFound",
    ),
    _operation(
        "Create Snapshot Volume",
        "POST /{tenantId}/snapshot_volume",
        "snapshot_volumes.create",
        "Success NotExists AlreadyExists TenantNotFound TenantCapacityExceeded",
    ),
    _operation(
        "Migrate Volume",
        "POST /{tenantId}/migrate_volume",
        "migrate_volume.create",
        "Success ReplicaNotFound VolumeNoFound TaskNotFound NotReplicated NotEnoughReplicas "
        "VolumeNotPublished ReplicaTerminating HostNotFound TaskAlreadyRunning "
        "NoBackendToMigrateReplica TenantNotFound VolumePublishedToMultipleHosts",
    ),
    _operation(
        "Clone Volume",
        "POST /{tenantId}/clone_volume",
        "clone_volume.create",
        "Success NotExists AlreadyExists TenantNotFound TenantCapacityExceeded",
    ),
    _operation(
        "Forward Log", "POST /forward_log", "forward_log.create", "Success SyslogNotAvailable"
    ),
    _operation("Get Syslogs", "GET /syslog", "syslog.list"),
    _operation(
        "Set License", "POST /LICENSE", "license.create", "Success LicenseError InvalidLicense"
    ),
    _operation("Get License", "GET /license", "license.list"),
    _operation("List Hosts", "GET /hosts", "hosts.list"),
    _operation("Host Probe", "POST /host_probe", "host_probe.create", "Success AlreadyExists"),
    _operation(
        "Delete Host", "DELETE /hosts/{uuid}", "hosts.destroy", "Success NotExists HostAvailable"
    ),
    _operation("Get Targets", "GET /targets", "targets.list"),
    _operation(
        "Publish",
        "POST /{tenantId}/publish",
        "publish.create",
        "Success HostNotFound VolumeNotFound PublishFailed AlreadyPublished TenantNotFound "
        "VolumeNotInHost",
    ),
    _operation(
        "Unpublish",
        "POST /{tenantId}/unpublish",
        "unpublish.create",
        "Success HostNotFound VolumeNotFound UnpublishFailed NotAvailable TenantNotFound "
        "VolumeNotInHost VolumeNotPublished",
    ),
    _operation("Get Tasks", "GET /tasks", "tasks.list"),
    _operation(
        "Update Task",
        "PUT /tasks",
        "tasks.update",
        "Success TaskNotFound UpdateTaskFailed TaskEnded",
    ),
    _operation(
        "Remove Task",
        "DELETE /tasks",
        "tasks.destroy",
        "Success NoTask OngoingTask TaskBelongsToOtherHost",
    ),
    _operation("Get Metrics", "GET /metrics", "metrics.list"),
    _operation(
        "Set Authorization Server",
        "POST /auth_server",
        "auth_server.create",
        "Success CreateProvisionerClientTokenFailed CreateBackendsClientTokenFailed "
        "DecryptProvisionerClientTokenFailed DecryptBackendsClientTokenFailed "
        "ProvisionerClientUnauthorized BackendsClientUnauthorized NotAvailable NoChange",
    ),
    _operation(
        "Delete Authorization Server",
        "DELETE /auth_server",
        "auth_server.destroy",
        "Success InvalidAuthMode NotAvailable",
    ),
    _operation("Get Authorization Server", "GET /auth_server", "auth_server.list"),
)

CANNOT_OCCUR = {
    ("migrate_volume.create", "TaskNotFound"): "the operation makes its task and looks for none",
    ("migrate_volume.create", "HostNotFound"): (
        "a host cannot go while a volume is published to it: its removal unpublishes first"
    ),
    ("unpublish.create", "NotAvailable"): (
        "a target that is not on the node is what unpublish wants: Success"
    ),
}
"""Documented codes that no call can produce, and why."""
