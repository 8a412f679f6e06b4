"""Reading the pool."""

from dataclasses import dataclass

from django.db.models import Count, F, Q, QuerySet, Sum

from inventory.models import Backend, Host, Ssd
from provisioner.common.models import LifeState


@dataclass(frozen=True)
class BackendSummary:
    """A backend with what its drives add up to, in bytes; drives that are gone do not count."""

    backend: Backend
    capacity_bytes: int
    free_bytes: int
    ssds: int
    volumes: int


def backend_list(*, persistent_id: str | None = None) -> list[BackendSummary]:
    """All backends, or the one if there is such, by id; five queries however many they are."""
    backends = Backend.objects.all()
    if persistent_id is not None:
        backends = backends.filter(pk=persistent_id)
    made = Count("replicas", filter=Q(replicas__state=LifeState.READY))
    volumes = dict(backends.order_by().annotate(made=made).values_list("pk", "made"))
    drives = _drives(persistent_id)
    return [
        BackendSummary(backend, *drives.get(backend.pk, (0, 0, 0)), volumes.get(backend.pk, 0))
        for backend in backends.prefetch_related("addresses", "portals")
    ]


def _drives(persistent_id: str | None) -> dict[str, tuple[int, int, int]]:
    """Capacity, free bytes and number of the drives of each backend, or of the one."""
    ssds = Ssd.objects.filter(present=True).order_by()
    if persistent_id is not None:
        ssds = ssds.filter(backend_id=persistent_id)
    sums = ssds.values_list("backend_id").annotate(
        Sum("capacity_bytes"), Sum("used_bytes"), Count("pk")
    )
    return {
        backend_id: (capacity, capacity - used, count) for backend_id, capacity, used, count in sums
    }


def pool_free_bytes() -> int:
    """What is free on all backends that are Available."""
    drives = Ssd.objects.filter(present=True, backend__in=Backend.objects.available())
    free: int | None = drives.aggregate(free=Sum(F("capacity_bytes") - F("used_bytes")))["free"]
    return free or 0


def host_list(*, name: str | None = None) -> QuerySet[Host]:
    """All hosts, or those of that name."""
    return Host.objects.filter(name=name) if name is not None else Host.objects.all()
