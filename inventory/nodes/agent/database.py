"""The SQLite file of the agent."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS setting (
    node TEXT, name TEXT, value TEXT NOT NULL,
    PRIMARY KEY (node, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS volume (
    node TEXT, uuid TEXT, snapshot TEXT, spec TEXT NOT NULL,
    PRIMARY KEY (node, uuid)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS volume_of_snapshot ON volume (node, snapshot);
CREATE TABLE IF NOT EXISTS snapshot (
    node TEXT, uuid TEXT, volume TEXT NOT NULL, spec TEXT NOT NULL,
    PRIMARY KEY (node, uuid)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS snapshot_of_volume ON snapshot (node, volume);
CREATE TABLE IF NOT EXISTS target (
    node TEXT, nqn TEXT, host_nqn TEXT NOT NULL,
    PRIMARY KEY (node, nqn)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS namespace (
    node TEXT, nqn TEXT, uuid TEXT, nsid INTEGER NOT NULL, spec TEXT NOT NULL,
    PRIMARY KEY (node, nqn, uuid), UNIQUE (node, nqn, nsid)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS former_namespace (
    node TEXT, nqn TEXT, nsid INTEGER, uuid TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (node, nqn, nsid)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS namespace_of_volume ON namespace (node, uuid);
CREATE TABLE IF NOT EXISTS fence (
    node TEXT, uuid TEXT, nqn TEXT, kind TEXT,
    generation INTEGER NOT NULL, removed INTEGER NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (node, uuid, nqn, kind)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS fence_by_age ON fence (node, at);
CREATE INDEX IF NOT EXISTS fence_by_generation ON fence (node, generation);
"""


class Database:
    """An SQLite file, or an in-memory database, for any number of nodes. Only one thread at a time
    may use it.

    ``durable``: a committed write survives a power failure; each commit costs an fsync. Otherwise
    it survives only the end of the process.
    """

    def __init__(self, path: str | Path = ":memory:", *, durable: bool = True) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.execute("PRAGMA journal_mode = WAL")
        self.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self.create(SCHEMA)

    def create(self, schema: str) -> None:
        """Create those tables of ``schema`` that do not exist yet. An engine may keep its own
        tables here.
        """
        self._connection.executescript(schema)

    def execute(self, sql: str, *values: Any) -> list[Any]:
        """Run one statement, and return its rows. Outside ``transaction``, it is committed at
        once.
        """
        return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all statements of the block together, or none of them."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            self._connection.rollback()
            raise

    def clear(self) -> None:
        """Delete all rows of all nodes."""
        with self.transaction():
            for (table,) in self.execute("SELECT name FROM sqlite_schema WHERE type = 'table'"):
                self.execute(f"DELETE FROM {table}")  # noqa: S608

    def close(self) -> None:
        self._connection.close()
