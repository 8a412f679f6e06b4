"""Requests for jobs, sent over the broker of the environment."""

import queue
import subprocess
import sys
from contextlib import suppress

import pytest
from django.db import transaction

from provisioner.celery import app
from provisioner.common.queue import enqueue_on_commit

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty_queue():
    app.control.purge()
    yield
    app.control.purge()


def waiting():
    """Take the messages from the queue: the job and arguments of each."""
    found = []
    with (
        app.connection_for_read() as connection,
        connection.SimpleQueue("celery") as messages,
        suppress(queue.Empty),
    ):
        while True:
            message = messages.get_nowait()
            message.ack()
            found.append((message.headers["task"], message.payload[0]))
    return found


def test_a_job_is_sent_on_commit():
    with transaction.atomic():
        enqueue_on_commit("inventory.jobs.refresh_backend", "b1")
        assert waiting() == []
    assert waiting() == [("inventory.jobs.refresh_backend", ["b1"])]


def test_a_job_is_sent_at_once_without_a_transaction():
    enqueue_on_commit("inventory.jobs.refresh_backend", "b1")
    assert waiting() == [("inventory.jobs.refresh_backend", ["b1"])]


def test_a_job_is_not_sent_after_a_rollback():
    with transaction.atomic():
        enqueue_on_commit("inventory.jobs.refresh_backend", "b1")
        transaction.set_rollback(True)
    assert waiting() == []


@pytest.mark.parametrize("answer", ["ack", "reject", "requeue"])
def test_a_message_of_a_lost_connection_can_be_answered(answer):
    """Redis restarts while a worker runs the job. An error here would end the worker."""
    enqueue_on_commit("inventory.jobs.refresh_backend", "b1")
    connection = app.connection_for_read()
    message = connection.SimpleQueue("celery").get_nowait()
    connection.close()
    getattr(message, answer)()


DEAD_BROKER = """
import time
import django
django.setup()
from provisioner.common.queue import enqueue_on_commit
started = time.monotonic()
enqueue_on_commit("inventory.jobs.refresh_backend", "b1")
print(time.monotonic() - started)
"""


def test_a_dead_broker_fails_no_request_and_delays_it_little(monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("DATABASE_URL", "sqlite:///:memory:")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "provisioner.settings")
    run = subprocess.run(
        [sys.executable, "-c", DEAD_BROKER], check=True, capture_output=True, text=True
    )
    assert float(run.stdout) < 2
    assert "OperationalError" in run.stderr, "it is logged"
