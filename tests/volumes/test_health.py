"""Health in SQL equals health by the rules, for every combination of replicas, nodes and hosts."""

import datetime as dt
import random
from collections import Counter
from collections.abc import Iterator
from itertools import combinations_with_replacement, product
from typing import NamedTuple

import pytest
from django.db import connection

from inventory.models import Backend, Host
from provisioner.common import clock
from provisioner.common.models import LifeState
from tests.api.admin_pages import make_backend
from volumes import health_selectors
from volumes.health import Health
from volumes.health_selectors import (
    volume_counts,
    volume_healths,
    volumes_of_health,
    volumes_with_health,
)
from volumes.models import Protocol, ProvisioningType, Publication, Replica, ReplicaState, Volume
from volumes.read_models import volume_rows
from volumes.selectors import volumes_visible

pytestmark = pytest.mark.django_db
MOST = 3
TRIPLES = 1500
MINUTE = dt.timedelta(minutes=1)


class Kind(NamedTuple):
    """A kind of replica. ``node``: the group of nodes that it is on; None: its node was removed by
    force.
    """

    replica_state: str
    state: LifeState
    rebuilding: bool
    node: str | None


KINDS = [
    Kind(replica_state, state, rebuilding, node)
    for replica_state, (state, rebuilding), node in product(
        ReplicaState.values,
        [
            (LifeState.READY, False),
            (LifeState.READY, True),
            (LifeState.CREATING, False),
            (LifeState.DELETING, False),
        ],
        ["up", "away", "not asked", None],
    )
]


class Case(NamedTuple):
    wanted: int
    published: bool
    replicas: tuple[Kind, ...]


def cases() -> Iterator[Case]:
    """All volumes of up to two replicas, and some of three."""
    few = [(), *((kind,) for kind in KINDS), *combinations_with_replacement(KINDS, 2)]
    for replicas, published in product(few, [False, True]):
        yield Case(max(len(replicas), 1), published, replicas)
        if len(replicas) == 1:
            yield Case(2, published, replicas)
    chosen = random.Random(1)
    for _ in range(TRIPLES):
        replicas = tuple(chosen.choices(KINDS, k=3))
        yield Case(chosen.randint(2, 3), chosen.random() < 0.5, replicas)


def nodes() -> dict[str, list[Backend]]:
    now = clock.now()
    times = {
        "up": (now + 60 * MINUTE, now),
        "away": (now - MINUTE, now),
        "not asked": (now - MINUTE, now - 2 * MINUTE),
    }
    groups: dict[str, list[Backend]] = {}
    for number, name in enumerate(name for name in times for _ in range(MOST)):
        backend = make_backend(number, now)
        until, polled_at = times[name]
        Backend.objects.filter(pk=backend.pk).update(available_until=until, polled_at=polled_at)
        groups.setdefault(name, []).append(backend)
    return groups


def rows_of(made: list[Case]) -> None:
    groups, now = nodes(), clock.now()
    host = Host.objects.create(
        uuid="h", name="h", nqn="nqn.h", duration=30, last_probe_at=now, available_until=now
    )
    volumes = Volume.objects.bulk_create(
        Volume(
            uuid=f"v{number:05}",
            tenant_id="0",
            alias=f"v{number}",
            capacity_bytes=1,
            provisioning_type=ProvisioningType.THICK,
            claimed_bytes=1,
            num_replicas=case.wanted,
            protocol=Protocol.NVMEOF,
            block_size=512,
            state=LifeState.READY,
        )
        for number, case in enumerate(made)
    )
    Publication.objects.bulk_create(
        Publication(volume=volume, host=host, state=LifeState.READY)
        for volume, case in zip(volumes, made, strict=True)
        if case.published
    )
    Replica.objects.bulk_create(
        Replica(
            uuid=f"{volume.uuid}-{n}",
            volume=volume,
            backend=groups[kind.node][n] if kind.node else None,
            replica_state=kind.replica_state,
            state=kind.state,
            rebuilding=kind.rebuilding,
            claimed_bytes=1,
            deadline_at=None if kind.state is LifeState.READY else now,
        )
        for volume, case in zip(volumes, made, strict=True)
        for n, kind in enumerate(case.replicas)
    )


def is_possible(case: Case) -> bool:
    """Whether the combination is possible. A constraint allows only one replica of a volume to be
    rebuilt at a time.
    """
    live = [kind for kind in case.replicas if kind.state is not LifeState.DELETING]
    return sum(kind.rebuilding for kind in live) <= 1


def test_sql_and_rules_give_the_same_health(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [case for case in cases() if is_possible(case)]
    rows_of(made)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # autovacuum does the same after many new rows
    ruled = {
        key: one.health for key, one in volume_healths(volume_rows(volumes_visible(None))).items()
    }
    in_sql = dict(volumes_with_health().values_list("pk", "health"))
    uuids = dict(Volume.objects.values_list("pk", "uuid"))
    differ = [
        (made[int(uuids[pk][1:])], health, in_sql[pk])
        for pk, health in ruled.items()
        if in_sql[pk] != health
    ]
    assert differ == []
    assert len(in_sql) == len(made)
    numbers = Counter(ruled.values())
    assert volume_counts() == numbers
    assert set(numbers) == set(Health), "each health occurs"
    for health, few in product(Health, [0, len(made)]):
        monkeypatch.setattr(health_selectors, "MAX_KEYS", few)
        found = volumes_of_health(volumes_visible(None), health)
        assert {row.pk for row in found} == {pk for pk, one in ruled.items() if one is health}
