"""Requests for jobs, sent over the broker of the environment."""

import queue
import subprocess
import sys
from contextlib import suppress

import pytest
from django.db import transaction

from provisioner.celery import app
from provisioner.common.queue import enqueue_on_commit
from provisioner.sending import TIMEOUTS

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


TWO_WORKERS = """
import threading
import django
django.setup()
from provisioner.celery import TASKS, EmbeddedWorker, app

begun = {"long": threading.Event(), "short": threading.Event()}

@app.task(name="run")
def run(name):
    begun[name].set()
    if name == "long":
        threading.Event().wait()

def start(name):
    worker = EmbeddedWorker._worker(app, TASKS, 1)
    worker.hostname = name
    threading.Thread(target=worker.start, daemon=True).start()

app.control.purge()
start("one")
app.send_task("run", args=("long",))
assert begun["long"].wait(60)
app.send_task("run", args=("short",))
print("other worker" if not begun["short"].wait(1) else "same worker", flush=True)
start("two")
print("begun" if begun["short"].wait(60) else "waits behind the long job", flush=True)
import os
os._exit(0)
"""


def test_a_job_never_waits_behind_a_long_one_while_another_worker_is_idle() -> None:
    """A worker takes as many messages as it has threads. It acknowledges a message at its job's
    end, because after an acknowledgement it takes another message.
    """
    run = subprocess.run(
        [sys.executable, "-c", TWO_WORKERS], check=True, capture_output=True, text=True
    )
    assert run.stdout.split("\n")[:2] == ["other worker", "begun"], run.stderr


def test_messages_survive_the_process_of_their_job() -> None:
    """Otherwise the job of a process of a worker that is killed is lost until its task's lease
    ends.
    """
    assert app.conf.task_acks_late
    assert app.conf.task_reject_on_worker_lost


def test_no_outage_of_the_broker_ends_a_worker() -> None:
    assert app.conf.broker_connection_max_retries is None
    assert app.conf.broker_connection_retry_on_startup


def test_a_request_tries_a_dead_broker_twice() -> None:
    """Each try may take the time to connect, and the caller waits."""
    options = app.conf.broker_transport_options
    assert (options["max_retries"], options["interval_start"]) == (1, 0)
    assert not app.conf.task_publish_retry
    assert (options["max_retries"] + 1) * TIMEOUTS["socket_connect_timeout"] <= 2
