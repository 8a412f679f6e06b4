"""Migrations keep and correct the content of tables."""

import datetime as dt
from collections.abc import Iterator

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import StateApps

from inventory.models import Host
from tasks.models import Task
from volumes.models import JobLease, Volume

BEFORE = [("volumes", "0010_database_time"), ("tasks", "0005_job_runs")]
EXPANDING = {"growing_to_bytes": 2, "request_key": "k"}
NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
WAITING = {"type": "ReplicaSync", "heard_at": NOW}

pytestmark = pytest.mark.django_db(transaction=True)


def migrate(to: list[tuple[str, str]]) -> StateApps:
    """Return the models at this state of the migrations."""
    executor = MigrationExecutor(connection)
    executor.migrate(to)
    return MigrationExecutor(connection).loader.project_state(to).apps


def migrate_completely() -> None:
    migrate(MigrationExecutor(connection).loader.graph.leaf_nodes())


@pytest.fixture
def before(request: pytest.FixtureRequest) -> Iterator[StateApps]:
    """Return the earlier models, in a database with their tables."""
    yield migrate(getattr(request, "param", BEFORE))
    migrate_completely()


def test_renamed_tables_and_columns_keep_their_rows(before: StateApps, base_rows: None) -> None:
    before.get_model("volumes", "Turn").objects.create(job="j", until=NOW, unbroken_since=NOW)
    before.get_model("volumes", "Volume").objects.create(
        uuid="u",
        tenant_id="0",
        alias="a",
        capacity_bytes=1,
        provisioning_type="THICK",
        claimed_bytes=2,
        num_replicas=1,
        protocol="NVMeoF",
        block_size=512,
        state="READY",
        deadline_at=NOW,
        **EXPANDING,
    )
    before.get_model("tasks", "Task").objects.create(**WAITING)
    migrate_completely()
    assert JobLease.objects.get().job == "j"
    volume = Volume.objects.get()
    assert (volume.expanding_to_bytes, volume.idempotency_digest) == (2, "k")
    assert Task.objects.get().last_activity_at == NOW


@pytest.mark.parametrize("before", [[("inventory", "0021_generation_gap")]], indirect=True)
def test_hosts_that_announced_no_probe_for_years_become_unavailable(before: StateApps) -> None:
    hosts = before.get_model("inventory", "Host").objects
    for name, duration, has_agent in (("a", 2**31 - 1, True), ("b", 2**31 - 1, False), ("c", 9, 1)):
        until = NOW + dt.timedelta(seconds=3 * duration)
        hosts.create(
            uuid=name,
            name=name,
            nqn=name,
            client_type="Agent",
            version="3",
            duration=duration,
            last_probe_at=NOW,
            available_until=until,
            agent_until=until if has_agent else None,
        )
    migrate_completely()
    days, seconds = NOW + dt.timedelta(days=3), NOW + dt.timedelta(seconds=27)
    assert list(Host.objects.values_list("duration", "available_until", "agent_until")) == [
        (86_400, days, days),
        (86_400, days, None),
        (9, seconds, seconds),
    ]
