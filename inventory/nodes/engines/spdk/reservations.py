"""Counts the reserved space of an SSD, so that a thick volume keeps its space even when snapshots
make it thin.

Lvols that share clusters form a family. A family reserves the sum of its members' allocations, and
uses the clusters that they own. The larger of both is not available to others.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from inventory.nodes.engines.space import Space
from inventory.nodes.engines.spdk.spdk_state import Lvol


def count_space(
    capacity: int,
    cluster_size: int,
    lvols: Iterable[Lvol],
    promises: Mapping[str, int],
    *,
    unseen: int = 0,
) -> Space:
    """Count the space of an SSD.

    ``promises``: allocated bytes by lvol name, also of lvols that do not exist yet or are being
    deleted. ``unseen``: clusters of lvols that are being deleted.
    """
    lvols = tuple(lvols)
    parents = {lvol.name: lvol.parent for lvol in lvols}
    owned: Counter[str] = Counter()
    allocated: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for lvol in lvols:
        owned[_family(lvol.name, parents)] += lvol.owned_clusters * cluster_size
    for name, size in promises.items():
        family = _family(name, parents)
        allocated[family] += size
        whole[family] += -(-size // cluster_size) * cluster_size
    families = owned.keys() | allocated.keys()
    absent = sum(size for name, size in whole.items() if name not in parents)
    going = max(0, unseen * cluster_size - absent)
    return Space(
        capacity=capacity,
        allocated=allocated.total(),
        outgrown=sum(max(0, owned[family] - allocated[family]) for family in families) + going,
        committed=sum(max(owned[family], whole[family]) for family in families) + going,
    )


def _family(name: str, parents: Mapping[str, str | None]) -> str:
    while parent := parents.get(name):
        name = parent
    return name
