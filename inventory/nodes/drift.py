"""The wire types of ``GET /v1/node/strays``."""

from enum import StrEnum

from inventory.nodes.wire import Wire


class DriftKind(StrEnum):
    LVOL = "LVOL"
    RAID = "RAID"
    SUBSYSTEM = "SUBSYSTEM"
    LOST = "LOST"  # recorded, and not there though its SSDs are


class DriftItem(Wire):
    """``name``: as the data plane calls it."""

    kind: DriftKind
    name: str


class Drift(Wire):
    """Where the data plane of a node differs from the records of its agent. What is under way may
    be among it.
    """

    strays: tuple[DriftItem, ...] = ()
