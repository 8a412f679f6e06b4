"""Which nodes and hosts became Unavailable is recorded for each of them alone."""

import datetime as dt
from typing import Any

import pytest
from django.db import DataError, OperationalError

from events import recording
from events.kinds import Kind
from events.models import Event
from inventory.models import Backend, ClientType, Host
from inventory.services import availability
from inventory.services.hosts import HostReport
from provisioner.common import clock
from tests.inventory.backends_steps import store
from tests.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)
LONG_AGO = dt.timedelta(hours=1)


@pytest.fixture
def _silent() -> None:
    """Three nodes and three hosts became Unavailable."""
    past = clock.now() - LONG_AGO
    for name in "abc":
        store(name, available_until=past)
        HostReport(
            uuid=name,
            name=name,
            nqn=f"nqn.{name}",
            client_type=ClientType.AGENT,
            version="1",
            duration=30,
        ).row(past).save(force_insert=True)


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception, *names: str) -> None:
    """Storing events about objects of these names fails."""
    record = recording.record

    def fails(kind: Kind, *, name: str, **facts: Any) -> None:
        record(kind, name=name, **facts)
        if name in names:
            raise error

    monkeypatch.setattr(availability, "record", fails)


def recorded(model: type[Backend] | type[Host]) -> set[str]:
    return set(model._default_manager.filter(recorded_available=False).values_list("pk", flat=True))


@pytest.mark.usefixtures("_silent")
def test_an_event_that_cannot_be_stored_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, DataError("no conversion of its name"), "a")
    availability.availability_record()
    assert recorded(Backend) == recorded(Host) == {"b", "c"}
    assert Event.objects.count() == 4
    monkeypatch.undo()
    availability.availability_record()
    assert recorded(Backend) == recorded(Host) == {"a", "b", "c"}


@pytest.mark.usefixtures("_silent")
def test_many_events_that_cannot_be_stored_do_not_stop_all_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(availability, "AT_MOST", 1)
    failing(monkeypatch, DataError("no conversion of its name"), "a", "b")

    def others_are_recorded() -> bool:
        availability.availability_record()
        return recorded(Backend) == recorded(Host) == {"c"}

    eventually(others_are_recorded, seconds=60, what=lambda: (recorded(Backend), recorded(Host)))


@pytest.mark.usefixtures("_silent")
def test_an_outage_of_the_database_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise each of a thousand objects would wait for a connection."""
    failing(monkeypatch, OperationalError("the connection is lost"), "a", "b", "c")
    with pytest.raises(OperationalError):
        availability.availability_record()
    assert recorded(Backend) == recorded(Host) == set()
