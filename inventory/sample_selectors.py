"""Reads the inventory samples of the pool, and the trend of its capacity."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import linear_regression
from typing import Any

from inventory.models import InventorySample


@dataclass(frozen=True)
class CapacityTrend:
    """The recent trend of the pool's reserved capacity.

    ``days_left``: the number of days until all drives are reserved at that rate; None: the reserved
    capacity does not increase.
    """

    bytes_per_day: float
    days_observed: float
    days_left: float | None


TREND_SAMPLES = 3
TREND_DAYS = 0.5
DAY = 86_400


def capacity_trend() -> CapacityTrend | None:
    """Return the trend of the samples, by least squares. None: there are too few samples, or they
    span half a day or less.
    """
    rows = InventorySample.objects.filter(used_bytes__isnull=False).order_by("pk")
    values = rows.values_list("taken_at", "used_bytes", "capacity_bytes")
    samples = [(at, used or 0, capacity or 0) for at, used, capacity in values]
    if len(samples) < TREND_SAMPLES:
        return None
    days = [(at - samples[0][0]).total_seconds() / DAY for at, _, _ in samples]
    if days[-1] <= TREND_DAYS:
        return None
    slope = linear_regression(days, [used for _, used, _ in samples]).slope
    _, used, capacity = samples[-1]
    left = max(0, capacity - used) / slope if slope > 0 else None
    return CapacityTrend(slope, days[-1], left)


SAMPLES_SHOWN = 100


class Change(StrEnum):
    """The change of a backend from one sample to the next (reference, "Get Inventory")."""

    NONE = "NONE"
    NEW = "NEW"
    REMOVED = "REMOVED"
    MODIFIED = "MODIFIED"


Entry = dict[str, Any]
"""A backend in a sample: hardwareId, version, state, numSSDs."""

Changes = list[tuple[Change, Entry]]


def sample_list() -> list[tuple[InventorySample, Changes]]:
    """Return the newest SAMPLES_SHOWN samples, the oldest first, each with its changes since the
    previous one.
    """
    newest = InventorySample.objects.order_by("-pk")[: SAMPLES_SHOWN + 1]
    before: list[Entry] = []
    found = []
    for sample in reversed(newest):
        found.append((sample, _changes(before, sample.backends)))
        before = sample.backends
    return found[-SAMPLES_SHOWN:]


def _changes(before: Sequence[Entry], after: Sequence[Entry]) -> Changes:
    """Return the changed backends, by hardwareId."""
    old = {entry["hardwareId"]: entry for entry in before}
    new = {entry["hardwareId"]: entry for entry in after}
    changed = [name for name in sorted(old | new) if old.get(name) != new.get(name)]
    return [(_change(old.get(name), new.get(name)), new.get(name) or old[name]) for name in changed]


def _change(old: Entry | None, new: Entry | None) -> Change:
    if old is None:
        return Change.NEW
    return Change.MODIFIED if new else Change.REMOVED
