"""Sends the messages of jobs to the broker, in limited time."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from kombu import Producer, pools
from prometheus_client import Counter

SOCKET_SECONDS = 1.0
"""Longest wait for an answer of Redis. Workers wait longer, because they wait for messages."""
REST_SECONDS = 5.0
TIMEOUTS = {"socket_connect_timeout": SOCKET_SECONDS, "socket_timeout": SOCKET_SECONDS}

UNSENT = Counter(
    "provisioner_unsent_messages",
    "Job messages that the broker did not accept, or that were not sent for some seconds after "
    "that, by job.",
    ["name"],
)


class Sender:
    """Sends messages of this process. After a failure, nothing is sent for REST_SECONDS, so that a
    frozen broker delays only a few callers. Then one message tests the broker, and no other message
    is sent before it was accepted.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._failed = False
        self._rests_until = 0.0

    def send(self, job: str, args: tuple[object, ...], delay_seconds: float = 0.0) -> None:
        """Send a job to the broker. It runs after ``delay_seconds``. During a rest, the message is
        only counted as unsent.

        A try takes a few seconds at most, even if the broker accepts connections and answers
        nothing.

        :raises kombu.exceptions.OperationalError: the broker cannot be reached.
        """
        with self._producer() as producer:
            if not self._may_send():
                UNSENT.labels(job).inc()
                return
            try:
                with UNSENT.labels(job).count_exceptions():
                    self._app.send_task(
                        job, args, countdown=delay_seconds or None, producer=producer, retry=False
                    )
            except BaseException:
                self._rest()
                raise
            self.end_rest()

    def waiting(self, name: str) -> int:
        """Return the number of messages that wait in the queue ``name`` for a worker.

        :raises Exception: the broker cannot be reached.
        """
        with self._producer() as producer:
            channel: Any = producer.channel
            size: int = channel.queue_declare(queue=name).message_count
            return size

    def end_rest(self) -> None:
        """Send again, because the broker has answered."""
        with self._lock:
            self._failed = False
            self._rests_until = 0.0

    @contextmanager
    def _producer(self) -> Iterator[Producer]:
        connection = self._app.connection_for_write(transport_options=TIMEOUTS)
        with pools.producers[connection].acquire(block=True) as producer:
            yield producer

    def _may_send(self) -> bool:
        with self._lock:
            if time.monotonic() < self._rests_until:
                return False
            if self._failed:
                self._rests_until = time.monotonic() + REST_SECONDS
            return True

    def _rest(self) -> None:
        with self._lock:
            self._failed = True
            self._rests_until = time.monotonic() + REST_SECONDS
