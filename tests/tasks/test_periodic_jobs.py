"""Periodic jobs have their own queue, run one at a time, and record the time of their last
success.
"""

import datetime as dt
import threading
from collections.abc import Iterator

import pytest
from celery import shared_task

from provisioner import celery
from provisioner.common import clock, queue
from tasks import periodic
from tasks.metrics import job_metrics
from tasks.models import JobRun
from tests.conftest import Api
from tests.waiting import eventually
from tests.worker import running_worker

pytestmark = pytest.mark.django_db(transaction=True)
JOB = "tasks.jobs.requeue_abandoned"
BEGAN, GO_ON = threading.Event(), threading.Event()


@shared_task(name="tests.long")
def long_job() -> None:
    BEGAN.set()
    GO_ON.wait()


@shared_task(name="tests.broken")
def broken_job() -> None:
    raise ValueError("as a bug would")


@pytest.fixture
def worker() -> Iterator[None]:
    with running_worker():
        yield
        GO_ON.set()


def began(seconds: float, **fields: object) -> None:
    at = clock.now() - dt.timedelta(seconds=seconds)
    JobRun.objects.update_or_create(pk=JOB, defaults={"began_at": at, **fields})


def ages() -> dict[str, float]:
    [age, _] = job_metrics()
    return {sample.labels["name"]: sample.value for sample in age.samples}


def test_every_periodic_job_goes_to_the_queue_of_periodic_jobs() -> None:
    schedule = celery.app.conf.beat_schedule.values()
    assert {entry["options"]["queue"] for entry in schedule} == {celery.PERIODIC}
    assert set(queue.periodic_jobs()) == {entry["task"] for entry in schedule}
    assert all("expires" not in entry["options"] for entry in schedule), "clocks may differ"


def test_the_first_run_begins_and_a_second_does_not() -> None:
    assert periodic.run_begin(JOB, interval_seconds=5)
    assert not periodic.run_begin(JOB, interval_seconds=5)


@pytest.mark.parametrize(("seconds", "begins"), [(2, False), (3, True)])
def test_several_waiting_messages_start_one_run(seconds: float, begins: bool) -> None:
    began(seconds, ended_at=clock.now())
    assert periodic.run_begin(JOB, interval_seconds=5) is begins


@pytest.mark.parametrize(("seconds", "begins"), [(19, False), (21, True)])
def test_a_run_is_exclusive_unless_its_process_may_be_dead(seconds: float, begins: bool) -> None:
    began(seconds)
    assert periodic.run_begin(JOB, interval_seconds=5) is begins


@pytest.mark.parametrize("has_ended", [False, True])
def test_a_run_before_the_clock_stepped_back_blocks_no_run(has_ended: bool) -> None:
    at = clock.now() + dt.timedelta(hours=1)
    began(-3600, ended_at=at if has_ended else None)
    assert periodic.run_begin(JOB, interval_seconds=5)
    assert JobRun.objects.get().began_at < at
    assert not periodic.run_begin(JOB, interval_seconds=5)
    began(6)
    assert not periodic.run_begin(JOB, interval_seconds=5), "the new run has not ended"


def test_a_failed_run_does_not_count_as_success() -> None:
    began(100, succeeded_at=clock.now() - dt.timedelta(seconds=100))
    assert periodic.run_begin(JOB, interval_seconds=5)
    periodic.run_end(JOB, succeeded=False)
    assert 99 < ages()[JOB] < 110
    periodic.run_end(JOB, succeeded=True)
    assert ages()[JOB] < 10


def test_every_periodic_job_has_a_metric(api: Api) -> None:
    text = api.get("/metrics").body
    for job, seconds in queue.periodic_jobs().items():
        assert f'provisioner_job_age_seconds{{name="{job}"}}' in text
        assert f'provisioner_job_interval_seconds{{name="{job}"}} {seconds}' in text


def test_a_run_by_a_worker_is_recorded(base_rows: None, worker: None) -> None:
    celery.app.send_task(JOB, queue=celery.PERIODIC)
    eventually(
        lambda: JobRun.objects.filter(pk=JOB, ended_at__isnull=False).exists(),
        seconds=20,
        what="run",
    )
    assert ages()[JOB] < 20


def test_a_failure_in_a_worker_is_not_recorded_as_success(base_rows: None, worker: None) -> None:
    long_ago = clock.now() - dt.timedelta(hours=1)
    JobRun.objects.create(job="tests.broken", began_at=long_ago, succeeded_at=long_ago)
    celery.app.send_task("tests.broken", queue=celery.PERIODIC)
    rows = JobRun.objects.filter(pk="tests.broken", ended_at__isnull=False)
    eventually(rows.exists, seconds=20, what="run")
    assert rows.get().succeeded_at == long_ago


def test_a_job_that_is_not_periodic_always_runs(base_rows: None, worker: None) -> None:
    began(0)
    celery.app.send_task("tests.long")
    assert BEGAN.wait(20)
    assert not JobRun.objects.filter(pk="tests.long").exists()
