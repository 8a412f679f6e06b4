import datetime as dt
from collections.abc import Callable

import pytest
from pytest_django.fixtures import Settings

from events import retention
from events.models import Event


@pytest.fixture
def few_kept(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Deletes all events but the newest three, in batches of two. Returns how many."""
    monkeypatch.setattr(retention, "BATCH", 2)

    def prune() -> int:
        settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"event_most": 3})
        return retention.events_prune()

    return prune


@pytest.fixture
def aged() -> Callable[[int], None]:
    """Makes all events older by so many days."""

    def age(days: int) -> None:
        for event in Event.objects.all():
            Event.objects.filter(pk=event.pk).update(at=event.at - dt.timedelta(days=days))

    return age
