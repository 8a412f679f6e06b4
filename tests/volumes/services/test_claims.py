"""Claims on nodes and SSDs: each resource is checked, claimed and released."""

from collections.abc import Callable

import pytest
from django.db import transaction
from django.db.models import F

from inventory.models import Backend, Ssd
from tests.api.volume_steps import GIB, created
from tests.conftest import Api
from volumes.audit import audit
from volumes.services.claims import ClaimLost, Claims, claims_take

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


def performance() -> tuple[int, int]:
    """Return the claimed IOPS and bandwidth of the only node."""
    return Backend.objects.values_list("used_iops", "used_bw").get()


def take(iops: int = 0, bandwidth: int = 0) -> None:
    """Claim a GiB on an SSD of the only node, and this performance."""
    claims = Claims("0")
    ssd = Ssd.objects.order_by("pk")[0]
    claims.add_replica(str(ssd.backend_id), {ssd.pk: GIB}, iops, bandwidth)
    with transaction.atomic(durable=True):
        claims_take(claims)


@pytest.mark.parametrize(
    ("wish", "claimed"),
    [
        ({"desiredIOPSPerGB": 2}, (20, 0)),
        ({"desiredBWPerGB": 3}, (0, 30)),
        ({"desiredIOPSPerGB": 2, "desiredBWPerGB": 3}, (20, 30)),
    ],
)
def test_iops_and_bandwidth_are_claimed_and_released(
    api: Api, pool: Pool, wish: dict[str, int], claimed: tuple[int, int]
) -> None:
    pool(1)
    uuid = created(api, "v", storageClass=wish)
    assert performance() == claimed
    assert audit() == []
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    assert performance() == (0, 0)
    assert audit() == []


@pytest.mark.parametrize("resource", ["iops", "bw"])
def test_performance_that_another_request_took_is_not_claimed(pool: Pool, resource: str) -> None:
    pool(1)
    Backend.objects.update(**{f"used_{resource}": F(f"total_{resource}") - 5})
    before = performance()
    name = {"iops": "iops", "bw": "bandwidth"}[resource]
    with pytest.raises(ClaimLost):
        take(**{name: 6})
    assert performance() == before
    assert set(Ssd.objects.values_list("used_bytes", flat=True)) == {0}
    take(**{name: 5})
    row = Backend.objects.get()
    assert getattr(row, f"used_{resource}") == getattr(row, f"total_{resource}")


def test_space_on_an_ssd_that_has_vanished_is_not_claimed(pool: Pool) -> None:
    pool(1)
    Ssd.objects.update(present=False)
    with pytest.raises(ClaimLost):
        take()
    assert set(Ssd.objects.values_list("used_bytes", flat=True)) == {0}
    Ssd.objects.update(present=True)
    take()
    assert sorted(Ssd.objects.values_list("used_bytes", flat=True))[-1] == GIB
