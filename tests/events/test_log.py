"""Events are recorded together with their change, can be found by object, and none is missed."""

import datetime as dt
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.utils import timezone

from events.jobs import prune
from events.kinds import Kind, Severity
from events.models import Event
from events.recording import Tally, record
from events.retention import events_prune
from events.selectors import EventFilter, event_rows, events_page, newest_number

pytestmark = pytest.mark.django_db(transaction=True)


ALL = EventFilter()


def texts(wanted: EventFilter = ALL, **page: Any) -> list[str]:
    found = events_page(wanted, **{"marker": None, "limit": 100} | page)
    return [event.text for event in found]


def cordoned(name: str, **facts: Any) -> None:
    record(Kind.BACKEND_CORDONED, backend=name, **facts)


class Held:
    """A transaction in another thread that records an event and stays open until the test ends
    it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._recorded, self._goes_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._recorded.wait(60)

    def _run(self) -> None:
        try:
            with transaction.atomic():
                cordoned(self._name)
                self._recorded.set()
                assert self._goes_on.wait(60)
        finally:
            connection.close()

    def end(self) -> None:
        self._goes_on.set()
        self._thread.join(60)


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite serialises writers")
def test_a_smaller_number_that_commits_later_is_not_missed() -> None:
    cordoned("first")
    late = Held("late")
    try:
        cordoned("early")
        assert Event.objects.count() == 2
        assert texts() == ["Node first was cordoned."]
        marker = newest_number()
    finally:
        late.end()
    assert texts(marker=marker) == ["Node late was cordoned.", "Node early was cordoned."]


def test_an_event_is_rolled_back_with_its_transaction() -> None:
    with transaction.atomic():
        cordoned("node")
        transaction.set_rollback(True)
    assert texts() == []


def test_events_of_an_object_are_found_by_type_and_id_or_by_id() -> None:
    record(Kind.VOLUME_PUBLISHED, volume="v1", host="same", alias="a", tenant="t1")
    record(Kind.VOLUME_PUBLISHED, volume="same", host="h2", alias="b", tenant="t2")
    cordoned("0c:c4:7a")
    first, second = "Volume a was published to host same.", "Volume b was published to host h2."
    assert texts(EventFilter(about="host:same")) == [first]
    assert texts(EventFilter(about="volume:same")) == [second]
    assert texts(EventFilter(about="same")) == [first, second]
    assert texts(EventFilter(about="tenant:t1")) == [first]
    assert texts(EventFilter(about="0c:c4:7a")) == ["Node 0c:c4:7a was cordoned."]
    assert texts(EventFilter(about="backend:0c:c4:7a")) == ["Node 0c:c4:7a was cordoned."]
    assert texts(EventFilter(about="volume:v")) == []


def test_filters_narrow_by_tenant_kind_severity_and_time() -> None:
    record(Kind.VOLUME_DELETED, volume="v", alias="a", tenant="t1")
    record(Kind.DATA_LOST, volume="v", alias="a", tenant="t2")
    deleted, lost = Event.objects.order_by("number")
    # SQLite gives both the same time if they are less than a millisecond apart
    deleted.at = lost.at - dt.timedelta(milliseconds=1)
    deleted.save(update_fields=["at"])
    for wanted, expected in (
        (EventFilter(tenant_id="t1"), [deleted]),
        (EventFilter(kinds=(Kind.DATA_LOST,)), [lost]),
        (EventFilter(severity=Severity.ERROR), [lost]),
        (EventFilter(since=lost.at), [lost]),
        (EventFilter(until=deleted.at), [deleted]),
        (EventFilter(actor="nobody"), []),
    ):
        assert list(event_rows(wanted)) == expected


def test_a_marker_continues_in_either_order() -> None:
    for name in "abc":
        cordoned(name)
    first, second = events_page(EventFilter(), marker=None, limit=2)
    assert [first.text[5], second.text[5]] == ["a", "b"]
    assert texts(marker=second.number) == ["Node c was cordoned."]
    assert texts(marker=second.number, newest_first=True) == ["Node a was cordoned."]
    assert texts(limit=1, newest_first=True) == ["Node c was cordoned."]


def test_the_reason_ends_the_sentence() -> None:
    cordoned("node", reason="a disk smokes")
    event = Event.objects.get()
    assert event.text == "Node node was cordoned: a disk smokes"
    assert event.reason == "a disk smokes"


def test_many_occurrences_are_counted_in_few_events(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Tally(Kind.LOGINS_REFUSED)
    for _ in range(5):
        tally.count("key")
    assert texts() == ["1 login(s) were refused."]
    monkeypatch.setattr("events.recording.TALLY_SECONDS", 0.0)
    tally.count("key")
    assert texts() == ["1 login(s) were refused.", "5 login(s) were refused."]


def test_a_few_occurrences_have_an_event_each() -> None:
    tally = Tally(Kind.LOGINS_REFUSED, most=2)
    for _ in range(4):
        tally.count("key")
    tally.count("other")
    assert texts() == ["1 login(s) were refused."] * 3


def test_the_oldest_events_are_deleted(few_kept: Callable[[], int]) -> None:
    for number in range(8):
        cordoned(str(number))
    assert few_kept() == 5
    assert texts() == [f"Node {number} was cordoned." for number in (5, 6, 7)]


def test_events_are_deleted_when_their_time_is_over(aged: Callable[[int], None]) -> None:
    cordoned("old")
    aged(91)
    cordoned("new")
    assert events_prune() == 1
    assert texts() == ["Node new was cordoned."]


def test_the_same_job_deletes_expired_sessions_of_the_console() -> None:
    live, expired = SessionStore(), SessionStore()
    live.create()
    expired.set_expiry(timezone.now() - dt.timedelta(seconds=1))
    expired.create()
    prune()
    assert [session.session_key for session in Session.objects.all()] == [live.session_key]
