"""How much of an SSD is promised: the guarantee that a thick volume keeps when snapshots make it
thin.

Lvols that share clusters are a family: together they are promised what each of them allocates, and
take what they own. The more of both is what nobody else may have.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from inventory.nodes.engines.spdk.spdk_state import Lvol


@dataclass(frozen=True)
class Space:
    """Bytes of one SSD. ``allocated``: what its volumes and snapshots allocate. ``outgrown``: what
    families own beyond that. ``committed``: both, in whole clusters.
    """

    capacity: int
    allocated: int
    outgrown: int
    committed: int

    @property
    def free(self) -> int:
        """What of the capacity is neither allocated nor taken beyond that."""
        return max(0, self.capacity - self.allocated - self.outgrown)

    @property
    def is_enough(self) -> bool:
        return self.committed <= self.capacity


def count_space(
    capacity: int,
    cluster_size: int,
    lvols: Iterable[Lvol],
    promises: Mapping[str, int],
    *,
    unseen: int = 0,
) -> Space:
    """``promises``: bytes allocated, by the name of the lvol, which may be still to come, or going;
    ``unseen``: clusters of those that go.
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
