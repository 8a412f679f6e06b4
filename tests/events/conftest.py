import datetime as dt
from collections.abc import Callable

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from pytest_django.fixtures import Settings

from events import retention
from events.models import Event
from tests.api.wire import basic
from tests.conftest import Api


@pytest.fixture
def few_kept(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Delete all events except the newest three, in batches of two. Returns how many were
    deleted.
    """
    monkeypatch.setattr(retention, "BATCH", 2)

    def prune() -> int:
        settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"event_most": 3})
        return retention.events_prune()

    return prune


@pytest.fixture
def aged() -> Callable[[int], None]:
    """Change all events as if they were this number of days older."""

    def age(days: int) -> None:
        for event in Event.objects.all():
            Event.objects.filter(pk=event.pk).update(at=event.at - dt.timedelta(days=days))

    return age


@pytest.fixture
def make_admin(api: Api) -> Api:
    """Return the API, called by the user boss of role ADMIN with name and password."""
    user = get_user_model().objects.create_user("boss", password="pw")
    user.groups.set(Group.objects.filter(name="ADMIN"))
    return Api(api.url, basic("boss", "pw")["Authorization"])
