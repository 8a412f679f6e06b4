"""Inserts many rows at once. They are copied by SQL from rows that the API created, so they are
complete.

Nodes and volumes that are created here exist in the database only. Volumes have one replica each.
Every second volume is published to one of HOSTS hosts. Sub-volumes are omitted, because no measured
call reads them.
"""

import json
import time
from contextlib import suppress
from typing import Any

import psycopg

from tests.benchmarks.system import System

HOSTS = 1000
NODES = 1000
DAY = 86_400
"""The collector looks at each namespace id once a day. Their times are spread over the last day, as
in a pool that has run for long.
"""
FIRST = 10**9
"""Keys of copies begin here, far from those that the API gives out."""

PROBE = json.dumps(
    {
        "hostId": "host-<n>",
        "hostNqn": "nqn.2014-08.org.nvmexpress:uuid:host-<n>",
        "name": "host-<n>",
        "clientType": "Agent",
        "version": "3.22",
        "duration": 86_400,
    }
)


def hosts(system: System, number: int = HOSTS) -> None:
    """Insert ``number`` hosts, every tenth with a migration."""
    system.call("POST", "/host_probe", json.loads(PROBE.replace("<n>", "0")))
    name = "'host-' || g"
    nqn = "'nqn.2014-08.org.nvmexpress:uuid:host-' || g"
    _copies(system, "inventory_host", "uuid = 'host-0'", number - 1, uuid=name, name=name, nqn=nqn)
    system.call("GET", "/inventory")
    task = {"task_id": "'task-' || g", "host_id": "'host-' || g * 10", "state": "'IDLE'"}
    task |= {"type": "'RemoteMigration'", "volume_id": "'volume-' || g", "ended_at": "NULL"}
    task |= {"lease_until": "'2100-01-01'"}  # so that no worker runs it
    template = "task_id = (SELECT min(task_id) FROM tasks_task)"
    _copies(system, "tasks_task", template, number // 10 - 1, **task)


def nodes(system: System) -> None:
    """Insert NODES more nodes, each with four SSDs, an address and a portal. They are cordoned, so
    that nothing is placed on them, and healthy otherwise. Nothing calls them.
    """
    template = "(SELECT min(persistent_id) FROM inventory_backend)"
    node = "'node-' || g"
    columns = {"persistent_id": node, "name": node, "in_use": "false"}
    columns |= dict.fromkeys(("available_until", "last_probe_at"), "'2100-01-01'")
    columns |= {"checked_at": "now()", "checked_boot_id": "boot_id", "controller_slot": "g + 20"}
    columns |= {"unanswered_since": "NULL", "call_error": "''"}
    _copies(system, "inventory_backend", f"persistent_id = {template}", NODES, **columns)
    key, place = f"{FIRST} + g * 10 + id % 10", "'192.0.2.' || g"
    for table, more in {"ssd": {}, "backendaddress": {"address": place}, "portal": {}}.items():
        columns = {"id": key, "backend_id": node} | more
        _copies(system, f"inventory_{table}", f"backend_id = {template}", NODES, **columns)


def volumes(system: System, number: int) -> None:
    """Insert or delete volumes so that there are exactly ``number``."""
    clear(system)
    answer = system.call("POST", "/volumes", {"alias": "v0", "capacity": 1})
    system.call("POST", "/publish", {"volId": answer["uuid"], "hostId": "host-0"})
    key, uuid, one = f"{FIRST} + g", "md5(g::text)::uuid::text", f"uuid = '{answer['uuid']}'"
    node = f"'node-' || 1 + g % {NODES}"
    half, nsid, host = (number - 1) // 2, f"100 + g / {HOSTS}", f"'host-' || g % {HOSTS}"
    copy = {"id": key, "uuid": uuid}
    _copies(system, "volumes_volume", one, number - 1, alias="'v' || g", **copy)
    replica = copy | {"volume_id": key, "backend_id": node}
    _copies(system, "volumes_replica", one, number - 1, **replica)
    publication = {"id": key, "volume_id": key, "host_id": host}
    _copies(system, "volumes_publication", "true", half, **publication)
    name = {"id": key, "nsid": nsid, "target_nqn": f"'nqn.2022-08.com.kioxia:' || {host}"}
    nqn = f"'nqn.2014-08.org.nvmexpress:uuid:' || {host}"
    export = name | {"publication_id": key, "replica_id": key, "host_nqn": nqn}
    _copies(system, "volumes_export", "true", half, **export)
    reserved = name | {"replica_key": key, "last_used_at": f"now() - g % {DAY} * interval '1 s'"}
    template = "id = (SELECT max(id) FROM volumes_namespaceid)"
    _copies(system, "volumes_namespaceid", template, half, **reserved)
    _settle(system)


def more(system: System, *, tenants: int, snapshots: int, tasks: int) -> None:
    """Insert tenants, snapshots of the volume v0, and ended tasks, in addition to the existing
    ones.
    """
    uuid = system.call("GET", "/volumes_by_alias/v0")[0]["uuid"]
    system.call(
        "POST", "/snapshots", {"alias": "s0", "volumeID": uuid, "reservedSpacePercentage": 1}
    )
    key, name = f"{FIRST} + g", "'s-' || g"
    _copies(
        system, "volumes_snapshot", "alias = 's0'", snapshots - 1, id=key, uuid=name, alias=name
    )
    tenant = {"tenant_id": "'tenant-' || g", "name": "'tenant-' || g", "follows_pool": "false"}
    _copies(system, "volumes_tenant", "follows_pool", tenants - 1, **tenant)
    task = {"task_id": "'ended-' || g", "host_id": "''", "state": "'FINISHED'", "ended_at": "now()"}
    template = "task_id = (SELECT min(task_id) FROM tasks_task)"
    _copies(system, "tasks_task", template, tasks, **task)


def clear(system: System) -> None:
    """Delete all volumes and their rows. Nodes keep what they have of volumes that were not
    published.
    """
    made = (
        "SELECT v.uuid FROM volumes_publication p JOIN volumes_volume v ON v.id = volume_id"
        " WHERE p.id < %s"
    )
    with system.connect() as database:
        for (uuid,) in database.execute(made, [FIRST]).fetchall():
            system.call("POST", "/unpublish", {"volId": uuid})
        _truncate(database)
        database.execute("UPDATE inventory_ssd SET used_bytes = 0")
        database.execute("UPDATE volumes_tenant SET used_bytes = 0")


def _truncate(database: psycopg.Connection[Any]) -> None:
    """Delete all volumes, also if a process reads the same tables in another order meanwhile."""
    while True:
        with suppress(psycopg.errors.DeadlockDetected):
            database.execute("TRUNCATE volumes_volume CASCADE")
            database.execute("DELETE FROM volumes_namespaceid WHERE id >= %s", [FIRST])
            return


def _settle(system: System) -> None:
    """Let PostgreSQL finish its work for the new rows, so that it does not disturb the
    measurement.
    """
    working = "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'"
    with system.connect() as database:
        database.execute("VACUUM ANALYZE")
        database.execute("CHECKPOINT")
        while database.execute(working).fetchone():
            time.sleep(0.2)


def _copies(system: System, table: str, template: str, number: int, **columns: str) -> None:
    """Insert copies of a row. ``columns``: SQL for values that differ, where ``g`` is 1 to
    ``number``. Existing rows stay.
    """
    names = "SELECT column_name FROM information_schema.columns WHERE table_name = %s"
    with system.connect() as database:
        there = [name for (name,) in database.execute(names, [table]).fetchall()]
        values = ", ".join(columns.get(name, f"template.{name}") for name in there)
        database.execute(
            f"INSERT INTO {table} ({', '.join(there)}) SELECT {values} FROM "  # noqa: S608
            f"(SELECT * FROM {table} WHERE {template}) template, generate_series(1, {number}) g "
            "ON CONFLICT DO NOTHING"
        )
