"""Tasks by type and state, for ``GET /metrics``."""

from collections.abc import Iterator

from django.db.models import Count
from prometheus_client.core import GaugeMetricFamily, Metric

from tasks.models import Task


def task_metrics() -> Iterator[Metric]:
    """One query; tasks that are still stored, ended ones too."""
    family = GaugeMetricFamily(
        "provisioner_tasks", "Stored tasks by type and state", labels=["type", "state"]
    )
    rows = Task.objects.order_by("type", "state").values_list("type", "state")
    for kind, state, number in rows.annotate(number=Count("pk")):
        family.add_metric([kind, state], number)
    yield family
