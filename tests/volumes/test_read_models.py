"""What reads of volumes cost PostgreSQL in a large pool."""

import re

import pytest
from django.db import connection

from provisioner.common.models import LifeState
from volumes.models import Tenant, Volume
from volumes.read_models.volumes import VolumesWanted

pytestmark = pytest.mark.django_db(transaction=True)

VOLUMES, TENANTS = 5000, 5


def test_a_volume_is_found_by_alias_without_reading_the_others():
    tenants = [Tenant(tenant_id=f"t{n}", name=f"t{n}") for n in range(TENANTS)]
    Tenant.objects.bulk_create(tenants)
    Volume.objects.bulk_create(
        Volume(
            uuid=f"v{n}",
            alias=f"a{n}",
            tenant_id=f"t{n % TENANTS}",
            capacity_bytes=1,
            claimed_bytes=1,
            num_replicas=1,
            block_size=4096,
            max_replica_down_minutes=0,
            state=LifeState.READY,
        )
        for n in range(VOLUMES)
    )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE volumes_volume")
    plan = VolumesWanted(alias="a7").rows().explain(analyze=True, buffers=True)
    pages = re.search(r"Buffers: shared hit=(\d+)", plan)
    assert pages, plan
    assert int(pages[1]) < 10, plan
