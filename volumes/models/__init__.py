"""Tenants, volumes, replicas, snapshots, publications and exports."""

from volumes.models.drain import Drain
from volumes.models.job_lease import JobLease
from volumes.models.orphan import Orphan, OrphanKind
from volumes.models.publication import (
    Export,
    NamespaceId,
    Publication,
    copy_host_nqn,
    copy_target_nqn,
    target_nqn,
)
from volumes.models.replica import Replica, ReplicaState
from volumes.models.replica_relocation import ReplicaRelocation
from volumes.models.snapshot import Snapshot
from volumes.models.sub_volume import SubVolume
from volumes.models.tenant import DEFAULT_TENANT, Tenant
from volumes.models.volume import RESERVING, Protocol, ProvisioningType, Volume

__all__ = [
    "DEFAULT_TENANT",
    "RESERVING",
    "Drain",
    "Export",
    "JobLease",
    "NamespaceId",
    "Orphan",
    "OrphanKind",
    "Protocol",
    "ProvisioningType",
    "Publication",
    "Replica",
    "ReplicaRelocation",
    "ReplicaState",
    "Snapshot",
    "SubVolume",
    "Tenant",
    "Volume",
    "copy_host_nqn",
    "copy_target_nqn",
    "target_nqn",
]
