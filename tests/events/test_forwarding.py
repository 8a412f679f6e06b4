"""Events are forwarded in order to the syslog servers of the pool, if this is switched on."""

from collections.abc import Callable

import pytest
from pytest_django.fixtures import Settings

from events.kinds import Kind
from events.models import Event
from events.recording import record
from inventory.models import SyslogRecord, SyslogServer, SyslogSource
from inventory.services.syslog.events import event_record, events_forward

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


def test_a_record_carries_the_longest_event() -> None:
    names = [f"{number:064}" for number in range(1000)]
    record(Kind.BACKEND_CORDONED, backend=names, reason="x" * 5000)
    sent = event_record(Event.objects.get()).encoded(facility=16, enterprise_number=1)
    assert len(sent) < 8192
