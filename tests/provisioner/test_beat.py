"""The schedule of beat in Redis."""

import datetime as dt
from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings
from redbeat.schedulers import get_redis

from inventory.nodes.engines.simulated import SimulatedFleet
from provisioner.beat import Scheduler
from provisioner.celery import app
from provisioner.common import clock

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # RedBeat overlooks the prefix of Django's settings and uses the same address of the broker
    pytest.mark.filterwarnings("ignore:RedBeat will stop falling back:DeprecationWarning"),
]


@pytest.fixture
def scheduler(settings: Settings, fleet: SimulatedFleet) -> Iterator[Scheduler]:
    """The scheduler of a process that holds no lock. ``fleet`` sets the certificates."""
    changes = {"public_url": "https://127.0.0.1:30100"}
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update=changes)
    scheduler = Scheduler(app)
    scheduler.lock_key = None
    yield scheduler
    redis = get_redis(app)
    redis.delete(*redis.keys("redbeat:*"))


def waits(scheduler: Scheduler) -> dict[str, float]:
    """Return for each job in how many seconds it is due."""
    now = clock.epoch_seconds()
    rows = get_redis(app).zrange(scheduler.app.redbeat_conf.schedule_key, 0, -1, withscores=True)
    return {key.removeprefix("redbeat:"): due_at - now for key, due_at in rows}


def test_jobs_are_due_although_their_last_run_lies_in_the_future(scheduler: Scheduler) -> None:
    """The beat of that run saw the database's clock before it stepped back."""
    later = clock.now() + dt.timedelta(hours=1)
    for name in app.conf.beat_schedule:
        entry = scheduler.Entry.from_key(scheduler.Entry.generate_key(app, name), app=app)
        entry.reschedule(later)
    before = waits(scheduler)  # also of Celery's own job, which has a time of day
    assert min(before[name] for name in app.conf.beat_schedule) > 3600
    scheduler.tick()
    found = waits(scheduler)
    late = [name for name, job in app.conf.beat_schedule.items() if found[name] > job["schedule"]]
    assert late == []


def test_a_tick_leaves_jobs_that_are_not_due(scheduler: Scheduler) -> None:
    before = waits(scheduler)
    scheduler.tick()
    assert waits(scheduler) == pytest.approx(before, abs=1)
