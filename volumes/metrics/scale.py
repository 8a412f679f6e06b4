"""The size of the pool, and the sizes that it was tested with (docs/reference/tested-limits.md)."""

from collections.abc import Iterator

from django.db.models import Count, Model
from prometheus_client.core import GaugeMetricFamily, Metric

from inventory.models import Backend, Host
from tasks.models import Task
from volumes.models import Snapshot, Tenant, Volume

TESTED: dict[str, int] = {
    "node": 1_000,
    "volume": 1_000_000,
    "host": 10_000,
    "tenant": 1_000,
    "snapshot_of_volume": 1_000,
    "task": 100_000,
}
"""The number of objects of each kind that a pool was tested with. ``snapshot_of_volume``: snapshots
of one volume.
"""
COUNTED: dict[str, type[Model]] = {
    "node": Backend,
    "volume": Volume,
    "host": Host,
    "tenant": Tenant,
    "task": Task,
}


def scale_metrics() -> Iterator[Metric]:
    """Yield the number of objects of each kind, and the tested number, in six queries."""
    objects = GaugeMetricFamily(
        "provisioner_objects",
        "Number of stored objects; snapshot_of_volume: of the volume that has most snapshots",
        labels=["kind"],
    )
    limit = GaugeMetricFamily(
        "provisioner_tested_objects",
        "Number of objects of a kind with which the provisioner was tested",
        labels=["kind"],
    )
    numbers = {kind: model._default_manager.count() for kind, model in COUNTED.items()}
    of_volumes = Snapshot.objects.order_by().values("volume").annotate(number=Count("pk"))
    most = of_volumes.order_by("-number").values_list("number", flat=True).first()
    numbers["snapshot_of_volume"] = most or 0
    for kind, tested in TESTED.items():
        objects.add_metric([kind], numbers[kind])
        limit.add_metric([kind], tested)
    yield objects
    yield limit
