"""PostgreSQL stores a probe as a HOT update: it changes no index, and needs little WAL."""

import pytest
from django.db import connection

from inventory.models import ClientType
from inventory.services.host_probes import probes_store
from inventory.services.hosts import HostReport, host_probe
from inventory.services.node.probe import ProbeReport, backend_probe
from provisioner.common import clock
from tests.inventory.backends_steps import TIB, store

OF_HOSTS, OF_NODES = 1000, 300
"""Probes. One of a node takes several milliseconds."""
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no HOT updates"),
]


def updates(table: str) -> tuple[int, int]:
    """Return the number of updates of the table, and of those that were HOT."""
    counts = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = %s"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(counts, [table])
        all_of_them, hot = cursor.fetchone()
    return int(all_of_them), int(hot)


def assert_hot(probes: int, before: tuple[int, int], after: tuple[int, int]) -> None:
    every, hot = (now - then for now, then in zip(after, before, strict=True))
    assert every >= probes
    assert hot >= 0.8 * every, f"{hot} of {every}. With full pages, it would be about two thirds."


def test_probes_of_hosts_change_no_index() -> None:
    reports = [
        HostReport(
            uuid=f"host-{number}",
            name=f"compute-{number}",
            nqn=f"nqn.2014-08.org.nvmexpress:uuid:host-{number}",
            client_type=ClientType.AGENT,
            version="3.22.170",
            duration=30,
        )
        for number in range(100)
    ]
    for report in reports:
        host_probe(report)
    before = updates("inventory_host")
    for _ in range(OF_HOSTS // len(reports)):
        assert probes_store([(report, clock.now()) for report in reports]) == ([], [])
    assert_hot(OF_HOSTS, before, updates("inventory_host"))


def test_probes_of_nodes_change_no_index() -> None:
    nodes = [store(f"node-{number}").pk for number in range(100)]
    reports = [
        ProbeReport(
            persistent_id=node,
            version="3.22.170",
            target_driver_version="3.22",
            certified=True,
            authentication_mode="LOCAL",
            total_iops=1000,
            total_bw=2000,
            total_capacity=2 * TIB,
            number_of_ssds=2,
            changes=0,
        )
        for node in nodes
    ]
    before = updates("inventory_backend")
    for _ in range(OF_NODES // len(reports)):
        for report in reports:
            backend_probe(report=report)
    assert_hot(OF_NODES, before, updates("inventory_backend"))
