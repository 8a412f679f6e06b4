"""The wire types of ``GET /v1/node/strays``."""

from enum import StrEnum

from inventory.nodes.wire import Wire


class DriftKind(StrEnum):
    """The kind of a difference."""

    LVOL = "LVOL"
    RAID = "RAID"
    SUBSYSTEM = "SUBSYSTEM"
    LOST = "LOST"  # recorded, but missing although its SSDs are present


class DriftItem(Wire):
    """One difference. ``name`` is the name of the object in the data plane."""

    kind: DriftKind
    name: str


class Drift(Wire):
    """The differences between the data plane of a node and the records of its agent. Objects that a
    running call is creating or removing may be among them.
    """

    strays: tuple[DriftItem, ...] = ()
