"""The number of statements for reading the pool and for probes, and rules that no single request
shows.
"""

import datetime as dt
from itertools import product
from typing import Any

import pytest
from django.utils import timezone

from inventory import backend_selectors
from inventory.backend_selectors import backend_list
from inventory.health import CERTIFICATE_NOTICE
from inventory.models import Backend, BackendAddress, Portal, Ssd
from inventory.models.liveness import LATE_FACTOR
from inventory.nodes import wire
from inventory.nodes.probes import Changes
from inventory.selectors import pool_free_bytes
from inventory.services.node.clients import node_client
from inventory.services.node.probe import ProbeReport, backend_probe
from inventory.services.node.state import reading_store
from provisioner.common import clock
from tests.inventory.backends_steps import TIB, store

pytestmark = pytest.mark.django_db(transaction=True)


def node(persistent_id="b1", *, ssds=(("s1", TIB), ("s2", TIB)), **fields):
    defaults = {
        "name": "renamed",
        "version": "3.23",
        "target_driver_version": "3.23",
        "boot_id": "boot2",
        "total_bw": 3000,
        "total_iops": 1500,
        "portals": (wire.Portal(ip="10.0.0.1", port=4420),),
        "ssds": tuple(wire.Ssd(ssd_id=i, name=i, capacity=size, free=size) for i, size in ssds),
    }
    return wire.Node(persistent_id=persistent_id, **defaults | fields)


def report(**fields):
    defaults: dict[str, Any] = {
        "persistent_id": "b1",
        "version": "3.23",
        "target_driver_version": "3.24",
        "certified": False,
        "authentication_mode": "LDAP",
        "total_iops": 1100,
        "total_bw": 2100,
        "total_capacity": 2 * TIB,
        "number_of_ssds": 2,
        "changes": 0,
        "boot_id": "boot1",
    }
    return ProbeReport(**defaults | fields)


@pytest.mark.parametrize("count", [1, 20])
def test_listing_backends_takes_four_queries_for_any_number(django_assert_num_queries, count):
    for n in range(count):
        store(f"b{n:02}")
    with django_assert_num_queries(4):
        found = backend_list()
        assert [(s.backend.persistent_id, s.mgmt_ips) for s in found] == [
            (f"b{n:02}", (f"b{n:02}.example",)) for n in range(count)
        ]
        assert {len(s.portals) for s in found} == {1}


def test_a_kept_summary_is_as_a_new_one_at_any_time(monkeypatch):
    soon, notice = dt.timedelta(seconds=1), CERTIFICATE_NOTICE
    start = timezone.now()
    store(
        probe_interval=1,
        last_probe_at=start - (LATE_FACTOR - 1) * soon,
        available_until=start + 2 * soon,
        certificate_ends_at=start + 3 * soon + notice,
        token_expires_at=start + 4 * soon,
    )
    tick = dt.timedelta(microseconds=1)
    moments = [
        start + n * soon + step for n in range(1, 5) for step in (-tick, dt.timedelta(), tick)
    ]

    def at(moment, kept):
        monkeypatch.setattr(clock, "now", lambda: moment)
        monkeypatch.setattr(backend_selectors, "_kept", kept)
        [summary] = backend_list()
        return summary, backend_selectors._kept

    shown = set()
    for then, now in product(moments, moments):
        before, kept = at(then, {})
        after, _ = at(now, kept)
        fresh, _ = at(now, {})
        assert vars(after) == vars(fresh), (then, now)
        assert after is before or then != now
        shown.add((fresh.is_available, fresh.health_reason))
    assert len(shown) == 5, "nothing is wrong, then one thing after the other"


def test_free_space_counts_only_present_drives_of_available_backends():
    store("b1")
    store("b2", available_until=timezone.now() - dt.timedelta(seconds=1))
    Ssd.objects.filter(backend="b1", ssd_id="s1").update(used_bytes=TIB // 4)
    assert pool_free_bytes() == 2 * TIB - TIB // 4
    Ssd.objects.filter(backend="b1", ssd_id="s1").update(present=False)
    assert pool_free_bytes() == TIB
    [first, _] = backend_list()
    assert (first.capacity_bytes, first.free_bytes, first.ssds) == (TIB, TIB, 1)


def test_a_probe_takes_two_statements(django_assert_num_queries):
    store()
    with django_assert_num_queries(2):
        backend = backend_probe(report=report())
    assert backend.refresh_wanted_at is None


def test_totals_never_fall_below_what_is_claimed():
    store(used_iops=900, used_bw=1900)
    backend = backend_probe(report=report(total_iops=500, total_bw=2500))
    assert (backend.total_iops, backend.total_bw) == (900, 2500)
    reading_store(persistent_id="b1", node=node(total_iops=1, total_bw=1), read_at=timezone.now())
    backend.refresh_from_db()
    assert (backend.total_iops, backend.total_bw) == (900, 1900)


@pytest.mark.parametrize(
    "fields",
    [
        {"changes": Changes.PORTALS},
        {"changes": Changes.PORTALS | Changes.SYSLOGS},
        {"boot_id": "boot2"},
        {"number_of_ssds": 3},
        {"total_capacity": TIB},
    ],
)
def test_a_probe_that_reports_a_change_requests_a_reading_until_it_was_done(fields):
    store()
    backend = backend_probe(report=report(**fields))
    assert backend.refresh_wanted_at == backend.last_probe_at
    asked_at = backend.refresh_wanted_at
    for later in (report(boot_id=fields.get("boot_id", "boot1")), report(boot_id=None)):
        assert backend_probe(report=later).refresh_wanted_at == asked_at, "until it was read"


@pytest.mark.parametrize("fields", [{"changes": Changes.SYSLOGS}, {"boot_id": None}])
def test_a_probe_without_a_change_requests_no_reading(fields):
    store()
    assert backend_probe(report=report(**fields)).refresh_wanted_at is None


def test_a_reading_replaces_stored_facts_drives_and_portals():
    store()
    Ssd.objects.filter(ssd_id="s2").update(used_bytes=7)
    read_at = timezone.now()
    portals = (
        wire.Portal(ip="10.0.0.2", port=4420),
        wire.Portal(ip="10.0.0.2", port=4421),
        wire.Portal(ip="10.0.0.2", port=4421),
    )
    news = node(ssds=[("s1", 2 * TIB), ("s3", 3)], portals=portals)
    assert reading_store(persistent_id="b1", node=news, read_at=read_at)

    backend = Backend.objects.get()
    assert (backend.name, backend.version, backend.boot_id) == ("renamed", "3.23", "boot2")
    assert (backend.total_iops, backend.total_bw) == (1500, 3000)
    assert backend.refreshed_at == read_at
    assert backend.available_until == read_at + dt.timedelta(seconds=180)
    assert list(Ssd.objects.values_list("ssd_id", "capacity_bytes", "used_bytes", "present")) == [
        ("s1", 2 * TIB, 0, True),
        ("s2", TIB, 7, False),
        ("s3", 3, 0, True),
    ]
    assert list(Portal.objects.values_list("ip", "port")) == [
        ("10.0.0.2", 4420),
        ("10.0.0.2", 4421),
    ]


def test_an_unused_missing_drive_is_deleted_and_a_used_one_can_return():
    store()
    Ssd.objects.filter(ssd_id="s2").update(used_bytes=7)
    reading_store(persistent_id="b1", node=node(ssds=[]), read_at=timezone.now())
    assert list(Ssd.objects.values_list("ssd_id", "present")) == [("s2", False)]
    reading_store(persistent_id="b1", node=node(ssds=[("s2", 5)]), read_at=timezone.now())
    [ssd] = Ssd.objects.all()
    assert (ssd.present, ssd.capacity_bytes, ssd.used_bytes) == (True, 7, 7)


@pytest.mark.parametrize(("sizes", "only"), [((512,), 512), ((512, 4096), None)])
def test_a_reading_stores_the_only_block_size_of_a_drive(sizes, only):
    store()
    ssd = wire.Ssd(ssd_id="s1", name="s1", capacity=TIB, free=TIB, block_sizes=sizes)
    news = node().model_copy(update={"ssds": (ssd,)})
    assert reading_store(persistent_id="b1", node=news, read_at=timezone.now())
    assert list(Ssd.objects.values_list("ssd_id", "block_size")) == [("s1", only)]


def test_an_older_reading_is_not_stored():
    store()
    now = timezone.now()
    assert reading_store(persistent_id="b1", node=node(name="new"), read_at=now)
    older = now - dt.timedelta(seconds=1)
    assert not reading_store(persistent_id="b1", node=node(name="old", ssds=[]), read_at=older)
    assert Backend.objects.get().name == "new"
    assert Ssd.objects.count() == 2


def test_the_reading_of_another_node_is_not_stored():
    store()
    assert not reading_store(persistent_id="b1", node=node("b2"), read_at=timezone.now())
    assert Backend.objects.get().name == "b1"


def test_the_reading_of_a_removed_backend_is_not_stored():
    assert not reading_store(persistent_id="b1", node=node(), read_at=timezone.now())
    assert not Ssd.objects.exists()


def test_a_client_gets_all_addresses_of_a_backend():
    backend = store()
    BackendAddress.objects.create(backend=backend, position=1, address="::1", port=443)
    assert backend.mgmt_ips == ["b1.example", "::1"]
    assert node_client(backend) is not None
