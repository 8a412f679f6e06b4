"""A large pool with tenants of very different sizes, and the number of rows that PostgreSQL reads
for a statement.
"""

import json
from typing import Any

from django.db import connection

from inventory.models import Host
from provisioner.common import clock
from provisioner.common.compiled import Compiled
from provisioner.common.models import LifeState
from tests.inventory.backends_steps import store
from volumes.models import Export, NamespaceId, Publication, Replica, Tenant, Volume, target_nqn

VOLUMES, PLACES = 10_000, 500
"""PLACES: the number of nodes, and that of hosts. Each has as many volumes as the others."""
OF_PLACE = VOLUMES // PLACES
LARGE = "large"


def tenant_of(number: int) -> str:
    """Each of a thousand small tenants has one volume, and LARGE has all others."""
    row, place = divmod(number, PLACES)
    return LARGE if (row + place) % 10 else f"small-{number}"


def fill() -> None:
    """Create VOLUMES volumes with one replica each, published to one host each."""
    probed = {"last_probe_at": clock.now(), "available_until": clock.now()}
    Tenant.objects.bulk_create(
        Tenant(tenant_id=name, name=name) for name in {tenant_of(n) for n in range(VOLUMES)}
    )
    Host.objects.bulk_create(
        Host(uuid=f"h{n}", name=f"h{n}", nqn=f"nqn:{n}", duration=9, **probed)
        for n in range(PLACES)
    )
    node = store("b0")
    for n in range(1, PLACES):
        node.persistent_id = node.name = f"b{n}"
        node.controller_slot = 1 + n
        node.save(force_insert=True)
    of = [{"pk": n + 1, "state": LifeState.READY} for n in range(VOLUMES)]
    Volume.objects.bulk_create(
        Volume(
            uuid=f"v{n}",
            alias=f"v{n}",
            tenant_id=tenant_of(n),
            capacity_bytes=1,
            claimed_bytes=1,
            num_replicas=1,
            block_size=4096,
            **of[n],
        )
        for n in range(VOLUMES)
    )
    Replica.objects.bulk_create(
        Replica(
            uuid=f"v{n}", volume_id=n + 1, backend_id=f"b{n % PLACES}", claimed_bytes=1, **of[n]
        )
        for n in range(VOLUMES)
    )
    Publication.objects.bulk_create(
        Publication(volume_id=n + 1, host_id=f"h{n % PLACES}", **of[n]) for n in range(VOLUMES)
    )
    Export.objects.bulk_create(
        Export(
            publication_id=n + 1,
            replica_id=n + 1,
            host_nqn=f"nqn:{n % PLACES}",
            **id_of(n),
            **of[n],
        )
        for n in range(VOLUMES)
    )
    NamespaceId.objects.bulk_create(
        NamespaceId(replica_key=n + 1, **id_of(n)) for n in range(VOLUMES)
    )
    analyze()


def id_of(number: int) -> dict[str, Any]:
    """The namespace id of the volume's replica."""
    return {"target_nqn": target_nqn(f"h{number % PLACES}"), "nsid": 1 + number // PLACES}


def analyze() -> None:
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def rows_read(statement: Compiled, **arguments: Any) -> tuple[int, str]:
    """Return the number of rows that PostgreSQL reads for a compiled statement with its one plan,
    and the plan.
    """
    _, sql, parameters = statement._compiled
    values = [parameter.bound(arguments, connection) for parameter in parameters]
    for number in range(len(values)):
        sql = sql.replace("%s", f"${number + 1}", 1)
    with connection.cursor() as cursor:
        cursor.execute("PREPARE measured AS " + sql.replace("%%", "%"))
        try:
            marks = f"({', '.join(['%s'] * len(values))})" if values else ""
            return explained(f"EXECUTE measured{marks}", values)
        finally:
            cursor.execute("DEALLOCATE measured")


def explained(sql: str, values: Any = ()) -> tuple[int, str]:
    """Execute a statement, and return the number of rows that it reads, and its plan. The plan is
    that for large tables: PostgreSQL reads a small one as a whole.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off; SET random_page_cost = 1")
        try:
            cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + sql, values)
            [(plan,)] = cursor.fetchall()
        finally:
            cursor.execute("RESET enable_seqscan; RESET random_page_cost")
    [top] = json.loads(plan) if isinstance(plan, str) else plan
    return _read(top["Plan"]), json.dumps(top, indent=1)


def _read(node: dict[str, Any]) -> int:
    parts = node.get("Plans", [])
    below = sum(map(_read, parts))
    if "Scan" not in node["Node Type"] or node["Node Type"] in {"Subquery Scan", "CTE Scan"}:
        return below
    removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    own = node["Actual Rows"] + sum(node.get(name, 0) for name in removed)
    return int(below + own * node["Actual Loops"])
