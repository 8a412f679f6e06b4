"""Backups of the tests' own database, created and restored by the programs of PostgreSQL."""

import subprocess
from pathlib import Path
from urllib.parse import quote

from django.db import connection

from provisioner.common.writes import writes_clear_cache
from tests.servers import postgresql_programs


class Backups:
    """Backups in ``folder``, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs = postgresql_programs(folder)

    def take(self, name: str = "backup") -> None:
        self._run("pg_dump", "--format=custom", f"--file={self._folder / name}", _url())

    def restore(self, name: str = "backup") -> None:
        """Restore into the same database. All tables are created again, even while others use the
        database.
        """
        options = [
            "--clean",
            "--if-exists",
            "--no-owner",
            "--exit-on-error",
            "--single-transaction",
        ]
        self._run("pg_restore", *options, f"--dbname={_url()}", str(self._folder / name))
        writes_clear_cache()

    def restore_beside(self, database: str, name: str = "backup") -> None:
        """Restore into an empty database of the same server."""
        options = ["--no-owner", "--exit-on-error", f"--dbname={self.url(database)}"]
        self._run("pg_restore", *options, str(self._folder / name))

    def url(self, database: str) -> str:
        """Return the URL of a database on the server of the tests."""
        return f"{_server()}/{database}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr


def _url() -> str:
    return f"{_server()}/{connection.settings_dict['NAME']}"


def _server() -> str:
    told = connection.settings_dict
    user, password = (quote(str(told[name]), safe="") for name in ("USER", "PASSWORD"))
    return f"postgresql://{user}:{password}@{told['HOST']}:{told['PORT']}"
