"""What the operations on replicas refuse alike."""

from provisioner.common.results import ProvisionerError, ResultCode


class NotReplicated(ProvisionerError):
    code = ResultCode.NotReplicated

    @classmethod
    def of(cls, volume_uuid: str) -> "NotReplicated":
        return cls(f"volume {volume_uuid!r} was created with one replica")


class ReplicaTerminating(ProvisionerError):
    code = ResultCode.ReplicaTerminating


class ReplicaNotExists(ProvisionerError):
    code = ResultCode.NotExists
