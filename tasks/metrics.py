"""Metrics of tasks and periodic jobs, for ``GET /metrics``."""

import time
from collections.abc import Iterator

from django.db.models import Count
from prometheus_client.core import GaugeMetricFamily, Metric

from provisioner.common import clock
from provisioner.common.queue import periodic_jobs
from tasks.models import JobRun, Task

_started = time.monotonic()


def task_metrics() -> Iterator[Metric]:
    """Yield the number of stored tasks by type and state, including ended tasks, and the metrics of
    periodic jobs. Two queries.
    """
    family = GaugeMetricFamily(
        "provisioner_tasks", "Stored tasks by type and state", labels=["type", "state"]
    )
    rows = Task.objects.order_by("type", "state").values_list("type", "state")
    for kind, state, number in rows.annotate(number=Count("pk")):
        family.add_metric([kind, state], number)
    yield family
    yield from job_metrics()


def job_metrics() -> Iterator[Metric]:
    """Yield the time since the last success of each periodic job. For a job that never ran, it is
    the time since this process started.
    """
    age = GaugeMetricFamily(
        "provisioner_job_age_seconds",
        "Seconds since the end of the last successful run of a periodic job",
        labels=["name"],
    )
    interval = GaugeMetricFamily(
        "provisioner_job_interval_seconds", "Interval of a periodic job in seconds", labels=["name"]
    )
    now, serving = clock.now(), time.monotonic() - _started
    succeeded = dict(JobRun.objects.values_list("job", "succeeded_at"))
    for job, seconds in periodic_jobs().items():
        at = succeeded.get(job)
        age.add_metric([job], (now - at).total_seconds() if at else serving)
        interval.add_metric([job], seconds)
    yield age
    yield interval
