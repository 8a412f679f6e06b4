"""Errors that several use cases raise."""

from provisioner.common.results import ProvisionerError, ResultCode


class VolumeNotExists(ProvisionerError):
    """There is no such volume, or the caller may not see it."""

    code = ResultCode.NotExists

    @classmethod
    def of(cls, volume_uuid: str) -> "VolumeNotExists":
        return cls(f"there is no volume {volume_uuid!r}")


class VolumeIsInUse(ProvisionerError):
    """Hosts or other objects use the volume or snapshot, so it cannot be deleted."""

    code = ResultCode.VolumeIsInUse


class VolumeExists(ProvisionerError):
    """The uuid or the alias of the new volume is taken."""

    code = ResultCode.AlreadyExists


class InvalidReplicas(ProvisionerError):
    """The number of replicas is out of range."""

    code = ResultCode.InvalidReplicas


class NodesFailed(ProvisionerError):
    """Nodes failed or did not answer in time, or another change of the volume is in progress. The
    request has no effect.
    """

    code = ResultCode.NotAvailable


class InvalidSize(ProvisionerError):
    """The requested capacity is not allowed."""

    code = ResultCode.InvalidSize


class NoFreeSpace(ProvisionerError):
    """An SSD or a node has too little free capacity or performance."""

    code = ResultCode.NoFreeSpace


class SnapshotNotExists(ProvisionerError):
    """There is no such snapshot, or the caller may not see it."""

    code = ResultCode.NotExists

    @classmethod
    def of(cls, snapshot_uuid: str) -> "SnapshotNotExists":
        return cls(f"there is no snapshot {snapshot_uuid!r}")


class NotReplicated(ProvisionerError):
    """The operation needs a volume of several replicas."""

    code = ResultCode.NotReplicated

    @classmethod
    def of(cls, volume_uuid: str) -> "NotReplicated":
        return cls(f"volume {volume_uuid!r} was created with one replica")


class ReplicaTerminating(ProvisionerError):
    """A replica of the volume is being removed."""

    code = ResultCode.ReplicaTerminating


class ReplicaNotExists(ProvisionerError):
    """The volume has no such replica, or no host may use it yet."""

    code = ResultCode.NotExists


class NoSourceReplica(ProvisionerError):
    """No replica is known to hold current data, so there is no source for a new one."""

    code = ResultCode.NotAvailable


class CannotMove(ProvisionerError):
    """The volume is bound to its node, or cannot be moved now."""

    code = ResultCode.NotAvailable


class HostNotFound(ProvisionerError):
    """There is no such host, or it serves another tenant."""

    code = ResultCode.HostNotFound


class VolumeNotFound(ProvisionerError):
    """There is no such volume, or the caller may not see it. Only operations on publications use
    this code.
    """

    code = ResultCode.VolumeNotFound


class VolumeNotPublished(ProvisionerError):
    """The volume is not published to the host, or to any host."""

    code = ResultCode.VolumeNotPublished


class TenantNotFound(ProvisionerError):
    """There is no such tenant, or the caller may not use it."""

    code = ResultCode.TenantNotFound

    @classmethod
    def of(cls, tenant_id: str) -> "TenantNotFound":
        return cls(f"there is no tenant {tenant_id!r}")
