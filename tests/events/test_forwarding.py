"""Events are forwarded in order to the syslog servers of the pool, if this is switched on."""

import datetime as dt
from collections.abc import Callable

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from events.kinds import Kind
from events.models import Event
from events.recording import record
from inventory.metrics import DROPPED
from inventory.models import SyslogRecord, SyslogServer, SyslogSource
from inventory.services.syslog import events
from inventory.services.syslog.events import event_record, events_forward
from inventory.services.syslog.forwarding import syslog_send_all

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server(base_rows: None) -> SyslogServer:
    """A syslog server that the pool knows."""
    fields = {"node_server_id": 1, "name": "log", "state": True, "use_tls": False}
    return SyslogServer.objects.create(url="tcp://127.0.0.1:9", **fields)


@pytest.fixture
def forward(settings: Settings) -> Callable[..., list[str]]:
    """Run the job. Returns the records that then wait."""

    def run(least: str = "warning") -> list[str]:
        settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"event_syslog": least})
        events_forward()
        contents = SyslogRecord.objects.order_by("pk").values_list("content", flat=True)
        return [bytes(content).decode() for content in contents]

    return run


def lost(alias: str) -> None:
    record(Kind.DATA_LOST, volume="v1", alias=alias, tenant="t1")


def test_forwarding_begins_with_events_after_it_was_switched_on(
    server: SyslogServer, forward: Callable[..., list[str]]
) -> None:
    lost("before")
    assert forward("off") == []
    assert forward() == []
    lost("a")
    record(Kind.BACKEND_CORDONED, backend="n1")
    [first] = forward()
    assert " provisioner - EVENT " in first
    assert 'kind="DataLost"' in first
    assert 'objects="volume:v1 tenant:t1"' in first
    assert first.startswith("<130>1 "), "local0, critical"
    assert first.endswith("The last current replica of volume a is Missing.")
    lost("b")
    assert [text.rpartition("volume ")[2] for text in forward()] == [
        "a is Missing.",
        "b is Missing.",
    ]
    forward("off")
    assert SyslogSource.objects.get().forwarded_event is None


def test_events_wait_for_a_server(forward: Callable[..., list[str]], server: SyslogServer) -> None:
    forward()
    SyslogServer.objects.update(state=False)
    lost("a")
    assert forward() == []
    SyslogServer.objects.update(state=True)
    assert len(forward()) == 1


def test_an_event_that_waited_long_is_sent_before_its_record_expires(
    forward: Callable[..., list[str]], server: SyslogServer
) -> None:
    forward()
    lost("a")
    Event.objects.update(at=timezone.now() - dt.timedelta(days=30))
    assert len(forward()) == 1
    syslog_send_all()
    assert SyslogRecord.objects.count() == 1


def test_an_event_that_waits_for_room_is_not_counted_as_dropped(
    forward: Callable[..., list[str]], server: SyslogServer, settings: Settings
) -> None:
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"syslog_most_records": 1})
    forward()
    before = DROPPED._value.get()
    lost("a")
    lost("b")
    for _ in range(3):
        [waiting] = forward()
        assert waiting.endswith("volume a is Missing.")
    assert DROPPED._value.get() == before
    SyslogRecord.objects.all().delete()
    [waiting] = forward()
    assert waiting.endswith("volume b is Missing.")


def test_an_event_that_only_one_server_takes_is_counted_once(
    forward: Callable[..., list[str]], server: SyslogServer, settings: Settings
) -> None:
    forward()
    lost("a")
    forward()
    other = {"node_server_id": 2, "name": "log2", "state": True, "use_tls": False}
    SyslogServer.objects.create(url="tcp://127.0.0.1:8", **other)
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"syslog_most_records": 1})
    before = DROPPED._value.get()
    lost("b")
    for _ in range(3):
        assert len(forward()) == 2
    assert DROPPED._value.get() == before + 1


def test_more_events_than_one_run_forwards_follow_in_the_next_runs(
    forward: Callable[..., list[str]], server: SyslogServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "AT_MOST", 2)
    forward()
    for number in range(5):
        lost(str(number))
    assert [len(forward()) for _ in range(4)] == [2, 4, 5, 5]


def test_a_record_carries_the_longest_event() -> None:
    names = [f"{number:064}" for number in range(1000)]
    record(Kind.BACKEND_CORDONED, backend=names, reason="x" * 5000)
    sent = event_record(Event.objects.get()).encoded(facility=16, enterprise_number=1)
    assert len(sent) < 8192
