"""A Celery worker in a thread of the test process, on the broker of the tests."""

from collections.abc import Iterator
from contextlib import contextmanager

from celery.contrib.testing.worker import start_worker
from kombu.transport.redis import Transport

from provisioner.celery import app
from provisioner.common import shutdown

Transport.brpop_timeout = 0.05  # type: ignore[assignment] # so soon a worker notices that it is to end; else 1 s


@contextmanager
def running_worker() -> Iterator[None]:
    """A context in which a worker runs the jobs that are sent. Jobs that were sent before are not
    run.
    """
    app.control.purge()
    try:
        with start_worker(
            app, pool="threads", concurrency=4, perform_ping_check=False, loglevel=30
        ):
            yield
    finally:
        shutdown.clear()
    app.control.purge()
