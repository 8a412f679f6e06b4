"""Counts the reserved space of an SSD, so that volumes are never promised more than the pool has.

Volumes that may share chunks form a family. A family reserves the sum of its members' allocations,
and owns chunks in the pool. The larger of these two is not available to others.

The kernel reports how many chunks a volume maps, but not how many of them it shares. So the chunks
of a family with several members are between the greatest number that one member maps and the sum of
all members. All families together own exactly the chunks that are in use in the pool. The count is
exact if at most one family shares chunks. Otherwise it is never too low
(docs/decisions/0034-linux-engine.md).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from inventory.nodes.engines.space import Space


@dataclass(frozen=True)
class Use:
    """The use of a pool. ``mapped``: bytes by volume, including shared ones. ``family``: the family
    of each volume; a volume that is not listed is a family by itself.
    """

    capacity: int
    chunk_size: int
    used: int
    mapped: Mapping[str, int]
    family: Mapping[str, str]


def count_space(use: Use, promises: Mapping[str, int]) -> Space:
    """Count the space of an SSD. ``promises``: allocated bytes by name, including objects that do
    not exist yet or are being removed.
    """
    least: dict[str, int] = {}
    most: Counter[str] = Counter()
    allocated: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for name, mapped in use.mapped.items():
        family = use.family.get(name, name)
        least[family] = max(mapped, least.get(family, 0))
        most[family] += mapped
    for name, size in promises.items():
        family = use.family.get(name, name)
        allocated[family] += size
        whole[family] += -(-size // use.chunk_size) * use.chunk_size
    return Space(
        capacity=use.capacity,
        allocated=allocated.total(),
        outgrown=_beyond(allocated, use.used, least, most),
        committed=whole.total() + _beyond(whole, use.used, least, most),
    )


def _beyond(
    reserved: Mapping[str, int], used: int, least: Mapping[str, int], most: Mapping[str, int]
) -> int:
    """Return an upper limit of the bytes that families own beyond their reservations: the smaller
    of two bounds.
    """
    unknown = max(0, used - sum(least.values()))
    one_has_all = unknown + sum(max(0, own - reserved.get(name, 0)) for name, own in least.items())
    each_has_most = sum(
        max(0, min(own, least[name] + unknown) - reserved.get(name, 0))
        for name, own in most.items()
    )
    unlisted = max(0, used - sum(most.values()))
    return min(one_has_all, each_has_most + unlisted)
