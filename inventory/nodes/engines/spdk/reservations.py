"""Counts the reserved space of an SSD, so that a thick volume keeps its space even when a snapshot
makes it thin.

Lvols that share clusters form a family. A family reserves the sum of its members' allocations, and
uses the clusters that they own. The larger of these two is not available to others.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from inventory.nodes.engines.space import Space


class Owner(Protocol):
    """An lvol with its clusters and the snapshot below it."""

    @property
    def owned_clusters(self) -> int: ...

    @property
    def parent(self) -> str | None: ...


class Ledger:
    """The space of one lvstore. After a change of one lvol or promise, only its family is counted
    again.

    A promise is the number of bytes that a volume or snapshot may allocate, by the name of its
    lvol. This lvol need not exist: it may not be created yet, or may be being deleted.
    """

    def __init__(self, cluster_size: int) -> None:
        self._cluster_size = cluster_size
        self._owned: dict[str, int] = {}
        self._parents: dict[str, str] = {}
        self._promises: dict[str, int] = {}
        self._absent = 0
        self._sums: Counter[str] = Counter()
        self.above: defaultdict[str, set[str]] = defaultdict(set)
        self.owned_clusters = 0

    def set_lvol(self, name: str, lvol: Owner | None) -> None:
        """Store an lvol. None: it no longer exists."""
        parent = lvol.parent if lvol else None
        with self._recounted(name, self._parents.get(name), parent):
            self.owned_clusters -= self._owned.pop(name, 0)
            self._put_under(name, parent)
            if lvol is not None:
                self._owned[name] = lvol.owned_clusters
                self.owned_clusters += lvol.owned_clusters

    def set_promise(self, name: str, size: int | None) -> None:
        """Store a promise. None: there is none any more."""
        with self._recounted(name):
            self._promises.pop(name, None)
            if size is not None:
                self._promises[name] = size

    @contextmanager
    def promised(self, name: str, size: int) -> Iterator[None]:
        """A context in which this promise counts instead of the stored one."""
        before = self._promises.get(name)
        self.set_promise(name, size)
        try:
            yield
        finally:
            self.set_promise(name, before)

    def space(self, capacity: int, free_clusters: int) -> Space:
        """Return the space of the SSD. Clusters that are neither free nor owned by a known lvol
        count as used: they belong to lvols that are being deleted, or that have become larger since
        they were read.
        """
        unseen = self.unseen(capacity, free_clusters) * self._cluster_size
        going = max(0, unseen - self._absent)
        return Space(
            capacity=capacity,
            allocated=self._sums["allocated"],
            outgrown=self._sums["outgrown"] + going,
            committed=self._sums["committed"] + going,
        )

    def unseen(self, capacity: int, free_clusters: int) -> int:
        """Return the number of clusters that are neither free nor owned by a known lvol. A negative
        number means that known lvols have become smaller since they were read.
        """
        return capacity // self._cluster_size - free_clusters - self.owned_clusters

    def _put_under(self, name: str, parent: str | None) -> None:
        if former := self._parents.pop(name, None):
            self.above[former].discard(name)
            if not self.above[former]:
                del self.above[former]
        if parent is not None:
            self._parents[name] = parent
            self.above[parent].add(name)

    @contextmanager
    def _recounted(self, *names: str | None) -> Iterator[None]:
        """Count the families of these names again. One of them changes in the block."""
        changed = [name for name in names if name is not None]
        self._add(changed, -1)
        yield
        self._add(changed, 1)

    def _add(self, names: list[str], sign: int) -> None:
        self._absent += sign * (self._whole(names[0]) if names[0] not in self._owned else 0)
        for root in {self._root(name) for name in names}:
            family = [root]
            for name in family:
                family.extend(self.above.get(name, ()))
            owned = sum(self._owned.get(name, 0) for name in family) * self._cluster_size
            allocated = sum(self._promises.get(name, 0) for name in family)
            self._sums["allocated"] += sign * allocated
            self._sums["outgrown"] += sign * max(0, owned - allocated)
            self._sums["committed"] += sign * max(owned, sum(map(self._whole, family)))

    def _root(self, name: str) -> str:
        while parent := self._parents.get(name):
            name = parent
        return name

    def _whole(self, name: str) -> int:
        """The promise in whole clusters."""
        return -(-self._promises.get(name, 0) // self._cluster_size) * self._cluster_size
