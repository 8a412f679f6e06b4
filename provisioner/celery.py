"""The Celery application and its beat schedule."""

import datetime as dt
import os
import threading
import time
from contextvars import ContextVar
from functools import partial
from typing import Any

from celery import Celery, Task, bootsteps
from celery.beat import Service
from celery.signals import celeryd_init, setup_logging, task_postrun, task_prerun, worker_ready
from celery.worker import WorkController
from celery.worker import state as worker_state
from django.conf import settings
from kombu import Exchange, Queue
from kombu.transport import redis
from prometheus_client import Counter, Histogram, start_http_server

from provisioner.common import clock, logs, queue, shutdown
from provisioner.sending import Sender

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "provisioner.settings")


class QoS(redis.QoS):
    """Acknowledges messages, and keeps the worker running when Redis is lost. Tasks are recovered
    from their rows, so no message has to survive.
    """

    # Otherwise a worker that loses Redis puts its current jobs back on the queue. If Redis is down
    # again by then, it ends with an error of kombu.
    restore_at_shutdown = False

    def ack(self, delivery_tag: str) -> None:
        """Do nothing for a message that came over a lost connection. kombu has closed its channel,
        and would raise AttributeError, which ends the worker.
        """
        if self.channel.connection is not None:
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Like :meth:`ack`."""
        if self.channel.connection is not None:
            super().reject(delivery_tag, requeue)


redis.Channel.QoS = QoS

TASKS, PERIODIC = "celery", "periodic"
"""The queues. Periodic jobs have their own queue and workers, so they never wait for long tasks.
One of the periodic jobs finds tasks whose lease has expired.
"""


class Job(Task):  # type: ignore[type-arg] # generic only for the type checker
    """A Celery job. A periodic job has one run at a time, and its success is recorded."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        delivery = self.request.delivery_info or {}
        if delivery.get("routing_key") != PERIODIC:
            return super().__call__(*args, **kwargs)
        from tasks import periodic  # noqa: PLC0415 - needs apps

        interval = queue.periodic_jobs().get(self.name, 0.0)
        if not periodic.run_begin(self.name, interval_seconds=interval):
            return None
        succeeded = False
        try:
            result = super().__call__(*args, **kwargs)
            succeeded = True
            return result
        finally:
            periodic.run_end(self.name, succeeded=succeeded)


class Application(Celery):
    """Celery with the time of the database, so that beats on machines with different clocks agree
    on which jobs are due.
    """

    def now(self) -> dt.datetime:
        return clock.now()


class HandOverTasks(bootsteps.StartStopStep):
    """Makes the jobs of a stopping worker hand over their tasks. This happens after the worker has
    stopped accepting messages, and before it waits for its jobs.
    """

    requires = ("celery.worker.components:Pool",)

    def start(self, worker: WorkController) -> None:
        shutdown.clear()

    def stop(self, worker: WorkController) -> None:
        shutdown.stop()


def _application() -> Application:
    made = Application("provisioner", task_cls=Job)
    made.config_from_object("django.conf:settings", namespace="CELERY")
    made.conf.task_queues = [
        Queue(name, Exchange(name), routing_key=name) for name in (TASKS, PERIODIC)
    ]
    made.autodiscover_tasks(related_name="jobs")
    made.steps["worker"].add(HandOverTasks)
    return made


app = _application()

sender = Sender(app)
queue.register_sender(sender.send, partial(sender.waiting, TASKS))


def _every(seconds: int, task: str) -> dict[str, Any]:
    return {"task": task, "schedule": float(seconds), "options": {"queue": PERIODIC}}


# One of several beats holds a lock in Redis. After its death, it expires within these seconds.
app.conf.redbeat_lock_timeout = 15
app.conf.beat_max_loop_interval = 5
app.conf.beat_schedule = {
    "poll-late-backends": _every(
        settings.ENVIRONMENT.poll_interval_seconds, "inventory.jobs.poll_late_backends"
    ),
    "poll-syslogs": _every(
        settings.ENVIRONMENT.poll_interval_seconds, "inventory.jobs.poll_syslogs"
    ),
    "send-waiting-syslog-records": _every(
        settings.ENVIRONMENT.collect_interval_seconds,
        "inventory.jobs.send_waiting_syslog_records",
    ),
    "forward-events": _every(
        settings.ENVIRONMENT.collect_interval_seconds, "inventory.jobs.forward_events"
    ),
    "update-inventory": _every(
        settings.ENVIRONMENT.inventory_interval_seconds, "inventory.jobs.update_inventory"
    ),
    "check-certificates": _every(
        settings.ENVIRONMENT.certificate_check_interval_seconds,
        "inventory.jobs.check_certificates",
    ),
    "collect": _every(settings.ENVIRONMENT.collect_interval_seconds, "volumes.jobs.collect"),
    "move-replicas": _every(
        settings.ENVIRONMENT.collect_interval_seconds, "volumes.jobs.move_replicas"
    ),
    "check-nodes": _every(settings.ENVIRONMENT.poll_interval_seconds, "volumes.jobs.check_nodes"),
    "settle-failover": _every(5, "volumes.jobs.settle_failover"),
    "requeue-abandoned-tasks": _every(5, "tasks.jobs.requeue_abandoned"),
    "purge-ended-tasks": _every(60, "tasks.jobs.purge_ended"),
    "prune-events": _every(60, "events.jobs.prune"),
}
queue.register_periodic(
    {entry["task"]: entry["schedule"] for entry in app.conf.beat_schedule.values()}
)


JOBS = Counter(
    "provisioner_jobs", "Jobs that ended; outcome is SUCCESS or FAILURE.", ["name", "outcome"]
)
JOB_SECONDS = Histogram("provisioner_job_seconds", "Duration of jobs in seconds.", ["name"])
_started_at: ContextVar[float] = ContextVar("started_at", default=0.0)


@setup_logging.connect
def _leave_logging_alone(**_: object) -> None:
    """Keep our log settings. Celery would set all levels to that of its command line."""


@celeryd_init.connect
def _check(**_: object) -> None:
    """Check the settings when a worker starts. :class:`provisioner.beat.Scheduler` checks beat. In
    the embedded form, both are threads of the API, which has been checked.
    """
    from provisioner import startup  # noqa: PLC0415 - needs the services, which need this

    startup.check()


@worker_ready.connect
def _show_metrics(**_: object) -> None:
    """Serve metrics when the worker accepts jobs: supervisors check it there."""
    if port := settings.ENVIRONMENT.worker_metrics_port:
        start_http_server(port)


@task_prerun.connect
def _job_begins(task_id: str | None = None, task: Any = None, **_: object) -> None:
    logs.task_id.set(task_id or "")
    logs.job.set(task.name)
    sender.end_rest()  # the broker has just delivered a message
    _started_at.set(time.monotonic())


@task_postrun.connect
def _job_ends(task: Any = None, state: str | None = None, **_: object) -> None:
    JOBS.labels(task.name, state or "UNKNOWN").inc()
    JOB_SECONDS.labels(task.name).observe(time.monotonic() - _started_at.get())
    logs.task_id.set("")
    logs.job.set("")


class EmbeddedWorker:
    """Celery workers and beat in threads of this process, because an in-memory broker reaches no
    other process. As in production, periodic jobs have their own threads.
    """

    def __init__(self) -> None:
        self._workers = [
            threading.Thread(
                target=self._worker(of, name, threads).start, name=f"worker-{name}", daemon=True
            )
            # each has its own application, because Celery stores its queue there
            for of, name, threads in ((app, TASKS, 4), (_application(), PERIODIC, 4))
        ]
        self._beat = Service(app, max_interval=1, scheduler_cls=app.conf.beat_scheduler)

    @staticmethod
    def _worker(of: Celery, name: str, threads: int) -> WorkController:
        return WorkController(
            app=of,
            pool="threads",
            concurrency=threads,
            queues=[name],
            hostname=f"{name}@embedded",
            without_heartbeat=True,
            without_mingle=True,
            without_gossip=True,
        )

    def start(self) -> None:
        app.set_default()
        for worker in self._workers:
            worker.start()
        threading.Thread(target=self._beat.start, name="celery-beat", daemon=True).start()

    def stop(self) -> None:
        """Start no further jobs. Returns at once."""
        self._beat.stop()
        worker_state.should_stop = 0  # type: ignore[assignment] # the exit code

    def join(self, seconds: float) -> None:
        """Wait for running jobs, at most ``seconds``. Tasks of jobs that take longer are resumed
        from their rows at the next start.
        """
        give_up = time.monotonic() + seconds
        while worker_state.active_requests and time.monotonic() < give_up:
            time.sleep(0.05)
