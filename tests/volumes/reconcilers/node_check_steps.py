"""Shared steps of the tests of the node check."""

import datetime as dt
from collections.abc import Callable

from django.utils import timezone

from inventory.models import Backend
from inventory.nodes import wire
from inventory.services.node.clients import node_client
from inventory.services.pool.generations import generation_next
from tests.api.volume_steps import GIB, volume
from tests.conftest import Api
from volumes.models import Export, Orphan, Publication, Replica, Snapshot, Volume
from volumes.reconcilers.garbage_collector import collect
from volumes.reconcilers.node_check.check import nodes_check
from volumes.services.ownership import pool_uuid

Pool = Callable[[int], list[str]]


TWO = {"numReplicas": 2}


def check() -> None:
    """Check all nodes as if they were due."""
    Backend.objects.update(checked_at=None)
    nodes_check()


def collect_overdue() -> None:
    past = timezone.now() - dt.timedelta(seconds=1)
    for model in (Volume, Replica, Snapshot, Publication, Export):
        model.objects.filter(deadline_at__isnull=False).update(deadline_at=past)
    collect()


def place(api: Api, uuid: str, number: int = 0) -> dict[str, object]:
    return dict(volume(api, uuid)["location"][number])


def stray_volume(
    node_id: str, uuid: str, generation: int | None = None, pool: str | None = None
) -> None:
    """Create an orphan: a volume on the node without a row, of this pool or of another pool."""
    owner = wire.Owner(pool=pool or pool_uuid(), tenant="0", volume=uuid, alias=f"alias of {uuid}")
    backend = Backend.objects.get(pk=node_id)
    [ssd, *_] = backend.ssds.all()
    node_client(backend).ensure_volume(
        uuid,
        wire.VolumeSpec(
            generation=generation or generation_next(),
            provisioning_type=wire.ProvisioningType.THICK,
            block_size=4096,
            pieces=(wire.Piece(ssd_id=ssd.ssd_id, capacity=GIB, allocated=GIB),),
            owner=owner,
        ),
    )


def noted() -> set[tuple[str, str, str]]:
    return set(Orphan.objects.values_list("backend_id", "kind", "uuid"))


def grow_old(hours: float = 25) -> None:
    Orphan.objects.update(first_seen_at=timezone.now() - dt.timedelta(hours=hours))
