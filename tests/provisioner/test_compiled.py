"""Compiled statements have the same results as Django's own."""

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.db.models import BigIntegerField, Count, F, QuerySet, Sum
from django.db.models.functions import Cast
from django.test.utils import CaptureQueriesContext

from events.models import Event
from inventory.models import Backend, Host, Ssd, SyslogRecord, SyslogServer
from provisioner.common import clock
from provisioner.common.compiled import Compiled, moment, prefetched, text, whole
from provisioner.common.inserts import insert, upsert
from tests.inventory.backends_steps import TIB, store

pytestmark = pytest.mark.django_db(transaction=True)

SHORT = Compiled(
    lambda: (
        Host.objects.filter(uuid=text("host"), duration__lt=whole("most"))
        .order_by("uuid")
        .values_list("uuid", "used_namespace_ids", "last_probe_at", "multipath")
    )
)
LATER = Compiled(
    lambda: Host.objects.filter(pk=text("host"), duration__lte=60 - whole("more")),
    duration=F("duration") + whole("more"),
    agent_until=None,
)


def host(uuid: str = "h1", name: str = "one", duration: int = 30) -> Host:
    now = clock.now()
    return Host(
        uuid=uuid,
        name=name,
        nqn=f"nqn:{uuid}",
        duration=duration,
        used_namespace_ids=[1, 2],
        last_probe_at=now,
        available_until=now,
        agent_until=now + dt.timedelta(seconds=1),
    )


def test_rows_have_the_values_of_the_model() -> None:
    stored = host()
    stored.save(force_insert=True)
    host("h2").save(force_insert=True)
    assert list(SHORT.rows(host="h1", most=31)) == [("h1", [1, 2], stored.last_probe_at, False)]
    assert list(SHORT.rows(host="h1", most=30)) == []
    assert list(SHORT.rows(host="' OR true --", most=31)) == []


def test_values_have_the_types_that_django_gives_them() -> None:
    store()
    host().save(force_insert=True)
    Event.objects.create(kind="k", severity=10, details={"a": [None, 1.5, "é"]})
    SyslogRecord.objects.create(
        server=SyslogServer.objects.create(node_server_id=1, state=True, use_tls=False),
        content=b"\0\xff",
    )
    for model in (Backend, Ssd, Host, Event, SyslogRecord):
        rows = model._default_manager.order_by("pk").values_list()
        compiled = list(Compiled(rows.all).rows())
        assert repr(compiled) == repr(list(rows)) != "[]"
    total = Cast(Sum("capacity_bytes"), BigIntegerField())
    numbers = Ssd.objects.order_by().values_list("backend_id").annotate(Count("pk"), total=total)
    assert repr(list(Compiled(numbers.all).rows())) == repr([("b1", 2, 2 * TIB)])


def test_an_update_says_how_many_rows_it_changed() -> None:
    host().save(force_insert=True)
    assert LATER.update(host="h1", more=30) == 1
    assert LATER.update(host="h1", more=1) == 0
    assert LATER.update(host="h2", more=1) == 0
    assert Host.objects.values_list("duration", "agent_until").get() == (60, None)


def test_an_inserted_row_is_the_one_that_save_would_insert() -> None:
    facts = {"kind": "k", "severity": 10, "text": "t", "actor_type": "caller", "actor": "a"}
    ours, other = (Event(**facts, details={"a": [1]}, subjects=["x:y"]) for _ in range(2))
    insert(ours)
    other.save(force_insert=True)
    rows = {row.pk: row for row in Event.objects.all()}
    assert set(rows) == {ours.pk, other.pk}
    assert ours.pk != other.pk
    changing = {"number", "at"}
    mine, saved = (
        {f.name: getattr(rows[e.pk], f.name) for f in Event._meta.fields if f.name not in changing}
        for e in (ours, other)
    )
    assert mine == saved
    assert abs(rows[ours.pk].at - rows[other.pk].at) < dt.timedelta(minutes=1)


def test_several_rows_are_one_statement() -> None:
    with CaptureQueriesContext(connection) as captured:
        insert()
        insert(host("h1"), host("h2"))
    assert sum("INSERT" in query["sql"] for query in captured) == 1
    assert Host.objects.count() == 2


def test_an_upsert_writes_only_the_named_columns() -> None:
    upsert(host(), ["name"])
    upsert(host(name="two", duration=60), ["name"])
    assert Host.objects.values_list("name", "duration").get() == ("two", 30)
    second = host("h2")
    second.nqn = "nqn:h1"
    with pytest.raises(IntegrityError):
        upsert(second, ["name"])


def test_prefetched_rows_need_no_statement() -> None:
    stored = host()
    insert(stored)
    prefetched(stored, "publications", [])
    with CaptureQueriesContext(connection) as captured:
        assert list(stored.publications.all()) == []
    assert not captured.captured_queries


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no prepared statements")
def test_the_database_plans_a_statement_once_for_all_values() -> None:
    named = Compiled(
        lambda: Host.objects.filter(name="50% 'off'", duration__lt=whole("most")).values_list(
            "uuid"
        )
    )
    host(name="50% 'off'").save(force_insert=True)
    found = [list(named.rows(most=most)) for most in (31, 30, 29, 31, 30, 29, 31, 31)]
    assert [len(rows) for rows in found] == [1, 0, 0, 1, 0, 0, 1, 1]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT statement, generic_plans, custom_plans FROM pg_prepared_statements"
            " WHERE statement LIKE '%%off%%'"
        )
        [(statement, generic, custom)] = cursor.fetchall()
    assert "50% ''off''" in statement, "a constant is part of the text"
    assert (generic, custom) == (3, 0), "prepared at the sixth use"


def test_a_time_is_an_argument() -> None:
    at = clock.now()
    later = Compiled(
        lambda: Host.objects.filter(available_until__gt=moment("at")).values_list("pk")
    )
    host().save(force_insert=True)
    assert list(later.rows(at=at)) == [("h1",)]
    assert list(later.rows(at=at + dt.timedelta(minutes=1))) == []


def test_a_statement_that_is_compiled_delays_no_other() -> None:
    """A thread that compiles may wait for a connection, which the threads hold that execute."""
    begun, goes_on = threading.Event(), threading.Event()

    def build() -> QuerySet[Any, Any]:
        begun.set()
        assert goes_on.wait(30)
        return Host.objects.values_list("pk")

    def first_use() -> list[Any]:
        try:
            return list(Compiled(build).rows())
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as other:
        slow = other.submit(first_use)
        assert begun.wait(30)
        assert list(Compiled(lambda: Host.objects.values_list("name")).rows()) == []
        goes_on.set()
        assert slow.result(30) == []
