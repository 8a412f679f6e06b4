"""Generations make sure that a write that arrives after a later one has no effect."""

import logging
import time
from typing import Literal, NamedTuple

from inventory.nodes.agent.database import Database
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import RefusalCode

KEEP_SECONDS = 24 * 3600
KEEP_GONE = 200_000
PURGE_EVERY = 1000  # number of writes
NEWEST = "newest generation"
"""The setting that keeps the greatest generation when names are forgotten."""
FLOOR = "floor"
"""The setting with the greatest generation handed out before the node joined its pool."""

GONE = """
    node = ?
    AND NOT EXISTS (SELECT 1 FROM volume
                    WHERE fence.kind IN ('volume', 'sync') AND fence.nqn = ''
                    AND volume.node = fence.node AND volume.uuid = fence.uuid)
    AND NOT EXISTS (SELECT 1 FROM snapshot
                    WHERE fence.kind = 'snapshot'
                    AND snapshot.node = fence.node AND snapshot.uuid = fence.uuid)
    AND NOT EXISTS (SELECT 1 FROM namespace
                    WHERE namespace.node = fence.node AND namespace.nqn = fence.nqn
                    AND namespace.uuid = fence.uuid)
"""

log = logging.getLogger(__name__)


class Name(NamedTuple):
    """The object that a generation belongs to: a volume, a snapshot, the copies of a volume, or,
    with an NQN, the namespace of a volume in that target. Generations of copies are kept as long as
    the volume.
    """

    uuid: str
    nqn: str = ""
    kind: Literal["volume", "snapshot", "sync"] = "volume"

    @classmethod
    def of_snapshot(cls, uuid: str) -> "Name":
        """Return the name of a snapshot."""
        return cls(uuid, kind="snapshot")

    @classmethod
    def of_sync(cls, uuid: str) -> "Name":
        """Return the name of the copies of a volume."""
        return cls(uuid, kind="sync")


class Fences:
    """The greatest generation that a node has seen for each name. Names of objects that were
    removed, or never created, are included.

    Names of objects that do not exist are forgotten after KEEP_SECONDS. To limit the size of the
    file, only KEEP_GONE of them are kept. If there are more, the oldest are forgotten early, with a
    warning in the log.
    """

    def __init__(self, database: Database, node: str) -> None:
        self._database = database
        self._node = node
        self._writes = 0

    def admit(self, name: Name, generation: int) -> None:
        """Check that a write of this generation may proceed.

        :raises NodeRefused: STALE: a later generation, or the removal of this one, was seen.
        """
        seen, removed = self._seen(name)
        if generation < seen or (removed and generation == seen):
            raise _stale(name, generation, seen)

    def admit_new(self, name: Name, generation: int) -> None:
        """Check that a volume of this generation may be created.

        :raises NodeRefused: STALE: the generation was handed out before this node joined its pool,
            so the node may not know that the volume was removed.
        """
        floor = self._setting(FLOOR)
        if generation <= floor:
            raise NodeRefused(
                RefusalCode.STALE,
                f"{name.uuid}: generation {generation} was issued before {floor}, when this node "
                "joined its pool: the node has no records of older generations",
            )

    def begin(self, floor: int) -> None:
        """Refuse to create volumes with generations up to ``floor``. Runs in the caller's
        transaction.
        """
        self._put_setting(FLOOR, floor)

    def admit_removal(self, name: Name, generation: int) -> None:
        """Check that a removal of this generation may proceed.

        :raises NodeRefused: STALE: a later generation was seen.
        """
        seen, _ = self._seen(name)
        if generation < seen:
            raise _stale(name, generation, seen)

    def is_removed(self, name: Name) -> bool:
        """Whether the latest write of the name was its removal, which may be unfinished."""
        return self._seen(name)[1]

    def raise_to(self, name: Name, generation: int, *, removed: bool = False) -> None:
        """Store an admitted generation. With ``removed``, later writes of the same generation are
        refused, too.
        """
        self._database.execute(
            "INSERT OR REPLACE INTO fence VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(self._node, *name, generation, removed, time.time()),
        )
        self._writes += 1
        if self._writes % PURGE_EVERY == 0:
            self.purge()

    def purge(self) -> None:
        """Forget names that were removed more than KEEP_SECONDS ago, or exceed KEEP_GONE."""
        oldest = time.time() - KEEP_SECONDS
        surplus = self._database.execute(
            f"SELECT at FROM fence WHERE {GONE} ORDER BY at DESC LIMIT 1 OFFSET ?",  # noqa: S608
            *(self._node, KEEP_GONE),
        )
        if surplus and surplus[0][0] > oldest:
            oldest = surplus[0][0]
            log.warning(
                "node %s discards records of generations early: too many removals", self._node
            )
        self._put_setting(NEWEST, self.newest())
        self._database.execute(
            f"DELETE FROM fence WHERE at <= ? AND {GONE}",  # noqa: S608
            *(oldest, self._node),
        )

    def newest(self) -> int:
        """Return the greatest generation of all names, including forgotten ones."""
        [(seen,)] = self._database.execute(
            "SELECT max(generation) FROM fence WHERE node = ?", self._node
        )
        return max(seen or 0, self._setting(NEWEST))

    def namespaces_at(self) -> dict[str, float]:
        """Return the time of the latest write of a namespace of each target, by the NQN of the
        target.
        """
        rows = self._database.execute(
            "SELECT nqn, max(at) FROM fence WHERE node = ? AND nqn != '' GROUP BY nqn", self._node
        )
        return dict(rows)

    def forget_removed(self) -> None:
        """Forget the names of objects that do not exist. Runs in the caller's transaction."""
        self._database.execute(f"DELETE FROM fence WHERE {GONE}", self._node)  # noqa: S608
        self._database.execute(
            "DELETE FROM setting WHERE node = ? AND name = ?", self._node, NEWEST
        )

    def _setting(self, name: str) -> int:
        rows = self._database.execute(
            "SELECT value FROM setting WHERE node = ? AND name = ?", self._node, name
        )
        return int(rows[0][0]) if rows else 0

    def _put_setting(self, name: str, value: int) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO setting VALUES (?, ?, ?)", self._node, name, str(value)
        )

    def _seen(self, name: Name) -> tuple[int, bool]:
        rows = self._database.execute(
            "SELECT generation, removed FROM fence"
            " WHERE node = ? AND uuid = ? AND nqn = ? AND kind = ?",
            *(self._node, *name),
        )
        return (rows[0][0], bool(rows[0][1])) if rows else (0, False)


def _stale(name: Name, generation: int, seen: int) -> NodeRefused:
    return NodeRefused(
        RefusalCode.STALE,
        f"{' in '.join(filter(None, name[:2]))}: generation {generation} is outdated; the latest"
        f" write or removal had generation {seen}",
    )
