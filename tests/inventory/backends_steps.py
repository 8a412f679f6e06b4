"""Shared steps of the tests of backends."""

import datetime as dt

from django.utils import timezone

from inventory.models import Backend, BackendAddress, Portal, Ssd

TIB = 2**40


def store(persistent_id="b1", **fields):
    """Store a backend with two drives and a portal."""
    now = timezone.now()
    defaults = {
        "name": persistent_id,
        "version": "3.22.1b-15757",
        "target_driver_version": "3.22.1b-15757",
        "authentication_mode": "LOCAL",
        "total_iops": 1000,
        "total_bw": 2000,
        "probe_interval": 60,
        "available_until": now + dt.timedelta(seconds=180),
        "boot_id": "boot1",
        "refreshed_at": now,
        "token_expires_at": now + dt.timedelta(days=30),
        "controller_slot": Backend.objects.count() + 1,
    }
    backend = Backend.objects.create(persistent_id=persistent_id, **defaults | fields)
    BackendAddress.objects.create(
        backend=backend, position=0, address=f"{persistent_id}.example", port=443
    )
    Portal.objects.create(backend=backend, ip="10.0.0.1", port=4420, transport="TCP_IP")
    for n in (1, 2):
        Ssd.objects.create(backend=backend, ssd_id=f"s{n}", name=f"nvme{n}", capacity_bytes=TIB)
    return backend
