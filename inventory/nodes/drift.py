"""The wire types of ``GET /v1/node/strays``."""

from enum import StrEnum

from inventory.nodes.wire import Wire


class DriftKind(StrEnum):
    """What the drift item is in the data plane."""

    LVOL = "LVOL"
    RAID = "RAID"
    SUBSYSTEM = "SUBSYSTEM"
    LOST = "LOST"  # recorded, but missing although its SSDs are present


class DriftItem(Wire):
    """One difference. ``name`` is the name in the data plane."""

    kind: DriftKind
    name: str


class Drift(Wire):
    """The differences between a node's data plane and its agent's records. Objects that a running
    call is creating or removing may be among them.
    """

    strays: tuple[DriftItem, ...] = ()
