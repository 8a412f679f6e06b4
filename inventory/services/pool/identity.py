"""The identity of this pool, and whether its database may be older than its nodes."""

import logging

from django.db import connection, transaction

from events.kinds import Kind
from events.recording import record
from inventory.models import Pool
from inventory.nodes.wire import PoolIdentity
from inventory.services.pool.generations import generation_gap_clear
from provisioner.common import clock
from provisioner.common.writes import writes_clear_cache

log = logging.getLogger(__name__)

COMMAND = "manage.py database_restored"
ANOTHER = "this database was restored or copied, and may be older than its storage nodes"
TOOK_OVER = (
    "a standby took over, or this database is a point-in-time recovery: it may lack commits that "
    "its storage nodes know"
)


def pool_identity() -> PoolIdentity:
    """Return the identity that nodes, and all objects on them, carry."""
    pool = Pool.objects.get()
    return PoolIdentity(uuid=pool.uuid, name=pool.name)


def database_doubt() -> str:
    """Return the reason why the database may be older than its nodes. Empty: it is not older."""
    doubt, strange = _read()
    return doubt or strange


def has_new_timeline() -> bool:
    """Whether the only doubt is a new timeline: it is the same database in the same cluster, but it
    may lack the last commits.
    """
    doubt, strange = _read()
    return not doubt and strange == TOOK_OVER


def writes_barred_reason() -> str:
    """Return the reason why writes are barred, for clients and operators. Empty: writes are
    allowed.
    """
    doubt = database_doubt()
    until = "all nodes are compared, within seconds, or " if doubt == TOOK_OVER else ""
    return f"{doubt}; writes are barred until {until}an operator runs {COMMAND!r}" if doubt else ""


def database_doubt_set(reason: str) -> None:
    """Bar all writes until the recovery of the database. The database hands out no generation from
    now on. Each process notices this within ``STALE_SECONDS``.
    """
    changes = {"doubt": reason, "doubt_since": clock.now()}
    with transaction.atomic():
        is_new = Pool.objects.filter(doubt="").update(**changes)
        if is_new:
            record(Kind.WRITES_BARRED, reason=reason)
    if is_new:
        log.error("the database is older than a node", extra={"reason": reason})
    writes_clear_cache()


def database_confirm() -> None:
    """Confirm that this is the database of the pool, and allow writes again. Runs in the caller's
    transaction. Nodes may have generations that were issued after the state of this database.
    """
    generation_gap_clear()
    seal = ""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT provisioner_seal()")
            [seal] = cursor.fetchone()
    Pool.objects.update(seal=seal, doubt="", doubt_since=None)
    writes_clear_cache()


def _read() -> tuple[str, str]:
    """Return the stored doubt, and the reason why the seal does not match, or "". Only PostgreSQL
    has a seal. With other databases, only the nodes can show that the database is older.
    """
    now = "provisioner_seal()" if connection.vendor == "postgresql" else "seal"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT doubt, seal, {now} FROM inventory_pool")  # noqa: S608 - our own words
        doubt, seal, own = cursor.fetchone() or ("", "", ANOTHER)
    if seal == own:
        return doubt, ""
    is_same_table = seal and seal.rpartition("/")[0] == own.rpartition("/")[0]
    return doubt, TOOK_OVER if is_same_table else ANOTHER
