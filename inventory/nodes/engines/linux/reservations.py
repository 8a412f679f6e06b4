"""Counts the reserved space of an SSD, so that a pool is never promised more than it has.

Volumes that may share chunks form a family. A family reserves the sum of its members' allocations,
and owns chunks in the pool. The larger of both is not available to others.

The kernel tells how many chunks a volume maps, but not how many of them it shares. So a family of
several members owns between the most that one of them maps and the sum of what they map, and all
families together own what the pool has in use. The count is exact while at most one family shares
chunks. Otherwise it is never too low (docs/decisions/0034-linux-engine.md).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from inventory.nodes.engines.space import Space


@dataclass(frozen=True)
class Use:
    """What the pool has. ``mapped``: bytes by volume, shared ones included. ``family``: of each
    volume; a volume that is not listed is its own.
    """

    capacity: int
    chunk_size: int
    used: int
    mapped: Mapping[str, int]
    family: Mapping[str, str]


def count_space(use: Use, promises: Mapping[str, int]) -> Space:
    """Count the space of an SSD. ``promises``: allocated bytes by name, also of what does not exist
    yet or is being removed.
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
    """At most so much do families own beyond what they reserve: the smaller of two bounds."""
    unknown = max(0, used - sum(least.values()))
    one_has_all = unknown + sum(max(0, own - reserved.get(name, 0)) for name, own in least.items())
    each_has_most = sum(
        max(0, min(own, least[name] + unknown) - reserved.get(name, 0))
        for name, own in most.items()
    )
    unlisted = max(0, used - sum(most.values()))
    return min(one_has_all, each_has_most + unlisted)
