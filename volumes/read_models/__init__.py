"""Rows prepared for lists and pages."""

from volumes.read_models.targets import TargetRow, target_rows, targets_read
from volumes.read_models.volumes import (
    ReplicaRow,
    VolumeAndReplicas,
    VolumeRow,
    VolumesWanted,
    volume_rows,
)

__all__ = [
    "ReplicaRow",
    "TargetRow",
    "VolumeAndReplicas",
    "VolumeRow",
    "VolumesWanted",
    "target_rows",
    "targets_read",
    "volume_rows",
]
