"""State that the engine needs and the kernel cannot keep."""

import uuid as uuids
from collections.abc import Iterable
from pathlib import Path

from inventory.nodes.engines.records import EngineRecords

SCHEMA = """
CREATE TABLE IF NOT EXISTS linux_family (
    name TEXT PRIMARY KEY, family TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS linux_copy (
    uuid TEXT PRIMARY KEY, what TEXT NOT NULL, place INTEGER NOT NULL, done INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS linux_connection (
    nqn TEXT, host_nqn TEXT, PRIMARY KEY (nqn, host_nqn)
) WITHOUT ROWID;
"""


class EngineState(EngineRecords):
    """The records of the engine, the logical volumes that may share chunks, the progress of copies,
    and the connections to other nodes that may exist.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, engine="linux", store="vg")
        self._database.create(SCHEMA)
        self.families: dict[str, str] = dict(self._rows("family", "name, family"))

    def join_family(self, name: str, source: str) -> None:
        """Record that the logical volumes ``name`` may share chunks with those of ``source``."""
        family = self.families.get(source) or uuids.uuid4().hex
        for one in (source, name):
            self._put("family", one, family)
            self.families[one] = family

    def leave_family(self, name: str) -> None:
        """Forget the family of logical volumes that were removed."""
        self._drop("family", name=name)
        self.families.pop(name, None)

    def copied(self, uuid: str, what: str) -> tuple[int, int]:
        """Return the piece of the volume, and the byte in it, where the copy ``what`` continues."""
        sql = "SELECT place, done FROM linux_copy WHERE uuid = ? AND what = ?"
        rows: list[tuple[int, int]] = self._database.execute(sql, uuid, what)
        return rows[0] if rows else (0, 0)

    def note_copied(self, uuid: str, what: str, place: int, done: int) -> None:
        self._put("copy", uuid, what, place, done)

    def forget_copied(self, uuid: str) -> None:
        self._drop("copy", uuid=uuid)

    def note_connection(self, nqn: str, host_nqn: str) -> None:
        self._put("connection", nqn, host_nqn)

    def drop_connection(self, nqn: str, host_nqn: str) -> None:
        self._drop("connection", nqn=nqn, host_nqn=host_nqn)

    def connections(self) -> Iterable[tuple[str, str]]:
        """NQN and host NQN of each connection."""
        return self._rows("connection", "nqn, host_nqn")
