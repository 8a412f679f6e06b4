"""Two beats run, so that one may die. Only one of them sends jobs."""

import json
from collections import Counter
from pathlib import Path

import pytest
import redis
from django.conf import settings

from tests.system.conftest import ROOT, Production
from tests.waiting import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(400)]
JOB = "volumes.jobs.collect"
"""Sent each second."""
RUNS = 5


def sent() -> Counter[tuple[str, str]]:
    """Count the waiting messages of periodic jobs, by job and sender."""
    broker = redis.Redis.from_url(settings.CELERY_BROKER_URL)
    messages: list[bytes] = broker.lrange("periodic", 0, -1)  # type: ignore[assignment]
    headers = [json.loads(message)["headers"] for message in messages]
    return Counter((header["task"], header["origin"]) for header in headers)


def test_one_of_two_beats_sends_each_job(production: Production) -> None:
    first, second = production.beat, production.start("provisioner-beat.service", "beat-2")
    broker = redis.Redis.from_url(settings.CELERY_BROKER_URL)
    try:
        eventually(
            lambda: "set" in {client["cmd"] for client in broker.client_list()},
            seconds=120,
            what="one of them tries to set the lock, again and again",
        )
        production.periodic.kill()  # its queue shows what is sent
        broker.delete("periodic")
        eventually(
            lambda: max((n for (job, _), n in sent().items() if job == JOB), default=0) >= RUNS,
            seconds=120,
            what="sent",
        )
        [sender] = {origin for _, origin in sent()}
        for beat in (first, second):
            if f"gen{beat.running.pid}@" in sender:
                beat.kill()
        eventually(
            lambda: {origin for _, origin in sent()} > {sender},
            seconds=120,
            what="the other sends jobs",
        )
    finally:
        second.kill()
    schedules = [path.name for path in Path(ROOT).glob("celerybeat-schedule*")]
    assert schedules == [], "the schedule is in Redis, where each beat finds it"
