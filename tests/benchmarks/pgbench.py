"""The same statements without our code: pgbench runs the statements of real calls, which PostgreSQL
logged.
"""

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.system import System, application_name
from tests.programs import installed

RECORDED_SECONDS = 10.0
FIRST_VOLUME = 500_000_000
RECORDABLE = 10**9
"""So many keys can be recorded."""
CACHED_KEYS = 3
"""A session's keys of replicas are consecutive, so that the last tells the others."""

PARAMETER = re.compile(r"(\$\d+) = ('(?:[^']|'')*'|NULL)")

OF_NO_CALL = ("authorizationserver", "SELECT DISTINCT")
"""Parts of statements that each process says now and then, whatever the calls."""


def program() -> str | None:
    """Return the path of pgbench. None: it is not installed (Debian has it in the package
    postgresql).
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"))
    return str(found[-1]) if found else installed("pgbench")


def statements(system: System, call: Callable[[], Any]) -> list[str]:
    """Return the statements that the API executed for this call."""
    with system.connect() as database:
        database.execute("ALTER SYSTEM SET log_statement = 'all'")
        database.execute("SELECT pg_reload_conf()")
        _until_logged(system)
        time.sleep(0.2)
        before = len(_logged(system))
        call()
        time.sleep(0.2)
        database.execute("ALTER SYSTEM RESET log_statement")
        database.execute("SELECT pg_reload_conf()")
    said = _logged(system)[before:]
    return [text for text in said if not any(other in text for other in OF_NO_CALL)]


def recordable_keys(system: System) -> None:
    """Make the keys of volumes and replicas numbers that appear nowhere else in statements."""
    with system.connect() as database:
        database.execute(f"SELECT setval('volumes_volume_id_seq', {FIRST_VOLUME})")
        # Newer than the nodes' pool, and older than all other generations from now on: a node must
        # never have seen one that is newer than the database.
        [first] = database.execute("SELECT provisioner_generation()").fetchone() or (0,)
        database.execute("SELECT provisioner_generations_raise(%s)", [first + RECORDABLE])
        database.execute(f"CREATE SEQUENCE recordable START {first} CACHE {CACHED_KEYS}")
        default = "nextval('recordable')"
        database.execute(f"ALTER TABLE volumes_replica ALTER COLUMN id SET DEFAULT {default}")


def create_script(system: System, number: int, replicas: int) -> str:
    """Return a script that creates volumes with the statements that the API used. That volume must
    have recordable keys.
    """
    name = f"recorded-{replicas}-{number}"
    body = {"alias": name, "uuid": name, "capacity": 1}
    storage_class = {"storageClass": {"numReplicas": replicas}}
    said = statements(system, lambda: system.call("POST", "/volumes", body | storage_class))
    with system.connect() as database:
        rows = database.execute(
            "SELECT v.id, r.id, r.uuid FROM volumes_volume v JOIN volumes_replica r"
            " ON r.volume_id = v.id WHERE v.uuid = %s ORDER BY r.id DESC",
            [name],
        ).fetchall()
    values = {name: ":n"} | {str(volume): ":volume_id" for volume, _, _ in rows}
    for index, (_, key, uuid) in enumerate(rows):
        values[str(key)] = f":replica_{index}"
        values.setdefault(uuid, f":n-{index}")
    whole = "|".join(map(re.escape, values))
    lines = [re.sub(rf"\b({whole})\b", lambda found: values[found[0]], text) for text in said]
    return "\n".join(["\\set n random(1, 1000000000000000)", *map(_ended, lines)])


def _ended(line: str) -> str:
    """Return the statement with its end, and with commands that keep the keys it returns."""
    if line.startswith('INSERT INTO "volumes_volume"'):
        return f"{line} \\gset volume_"
    if line.startswith('INSERT INTO "volumes_replica"'):
        others = (f"\\set replica_{n} :replica_id - {n}" for n in range(CACHED_KEYS))
        return "\n".join([f"{line} \\aset replica_", *others])
    return f"{line};"


def read_script(system: System, path: str) -> str:
    """Return a script of the reads. Writes are omitted, because they belong to nodes that send
    probes at the same time.
    """
    said = statements(system, lambda: system.call("GET", path))
    return _script([text for text in said if not text.startswith(("INSERT", "UPDATE"))])


def write_script(system: System, path: str, body: Any) -> str:
    return _script(statements(system, lambda: system.call("POST", path, body)))


def _script(said: list[str]) -> str:
    assert said, "nothing was logged"
    return "\n".join(f"{text};" for text in said)


def per_second(system: System, scripts: list[str], *, clients: int, seconds: float) -> float | None:
    """Return transactions per second. The scripts run in random order. None: pgbench is not
    installed.

    :raises AssertionError: a statement failed.
    """
    if (pgbench := program()) is None:
        return None
    folder = system.folder / "pgbench"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    url = system.postgres.url
    command = [pgbench, "-n", "-c", str(clients), "-j", "1", "-T", str(max(1, round(seconds)))]
    for index, script in enumerate(scripts):
        path = folder / f"{index}.sql"
        path.write_text(script)
        command += ["-f", str(path)]
    done = subprocess.run([*command, url], capture_output=True, text=True, check=False)
    found = re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)
    assert done.returncode == 0, done.stderr[-2000:]
    assert found, done.stdout
    return float(found[1])


def _until_logged(system: System) -> None:
    before, end = len(_logged(system)), time.monotonic() + RECORDED_SECONDS
    while len(_logged(system)) == before:
        assert time.monotonic() < end, "PostgreSQL logs no statements"
        system.call("GET", "/tasks?hostId=nobody")


def _logged(system: System) -> list[str]:
    """Of both protocols. The extended one logs the values of parameters in a line of their own."""
    name = application_name("API")
    said = rf"(?m)^{name} LOG:  (?:statement|execute [^:]+): (.*)$"
    said += rf"(?:\n{name} DETAIL:  parameters: (.*)$)?"
    found = re.findall(said, system.postgres.log.read_text(errors="replace"))
    return [_with_values(statement, dict(PARAMETER.findall(given))) for statement, given in found]


def _with_values(statement: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\d+", lambda found: values.get(found[0], found[0]), statement)
