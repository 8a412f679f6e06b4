"""Refusals that several use cases share."""

from provisioner.common.results import ProvisionerError, ResultCode


class VolumeNotExists(ProvisionerError):
    code = ResultCode.NotExists

    @classmethod
    def of(cls, volume_uuid: str) -> "VolumeNotExists":
        return cls(f"there is no volume {volume_uuid!r}")


class VolumeIsInUse(ProvisionerError):
    code = ResultCode.VolumeIsInUse


class VolumeExists(ProvisionerError):
    code = ResultCode.AlreadyExists


class InvalidReplicas(ProvisionerError):
    code = ResultCode.InvalidReplicas


class NodesFailed(ProvisionerError):
    """Nodes did not do in time what was asked of them; nothing of it stays."""

    code = ResultCode.NotAvailable


class InvalidSize(ProvisionerError):
    code = ResultCode.InvalidSize


class NoFreeSpace(ProvisionerError):
    code = ResultCode.NoFreeSpace


class SnapshotNotExists(ProvisionerError):
    code = ResultCode.NotExists

    @classmethod
    def of(cls, snapshot_uuid: str) -> "SnapshotNotExists":
        return cls(f"there is no snapshot {snapshot_uuid!r}")


class NotReplicated(ProvisionerError):
    code = ResultCode.NotReplicated

    @classmethod
    def of(cls, volume_uuid: str) -> "NotReplicated":
        return cls(f"volume {volume_uuid!r} was created with one replica")


class ReplicaTerminating(ProvisionerError):
    code = ResultCode.ReplicaTerminating


class ReplicaNotExists(ProvisionerError):
    code = ResultCode.NotExists


class NoSourceReplica(ProvisionerError):
    """No replica is known to be good: there is nothing to synchronize a new one from."""

    code = ResultCode.NotAvailable


class CannotMove(ProvisionerError):
    """The volume lies where it lies."""

    code = ResultCode.NotAvailable


class HostNotFound(ProvisionerError):
    code = ResultCode.HostNotFound


class VolumeNotFound(ProvisionerError):
    code = ResultCode.VolumeNotFound


class VolumeNotPublished(ProvisionerError):
    code = ResultCode.VolumeNotPublished


class TenantNotFound(ProvisionerError):
    code = ResultCode.TenantNotFound

    @classmethod
    def of(cls, tenant_id: str) -> "TenantNotFound":
        return cls(f"there is no tenant {tenant_id!r}")
