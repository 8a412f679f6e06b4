"""The rules of health, from the tables of docs/explanation/health.md."""

import datetime as dt
import re
from pathlib import Path

import pytest

from inventory.health import NodeHealth
from provisioner.common.models import LifeState
from volumes.health import Health, pool_health, volume_health
from volumes.models import ReplicaState
from volumes.read_models import ReplicaRow, VolumeRow

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "health.md"
NOW = dt.datetime(2026, 11, 28, 12, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)


def a_volume(wanted: int, *, published: bool) -> VolumeRow:
    values = dict.fromkeys(VolumeRow._fields, None)
    return VolumeRow(**values | {"num_replicas": wanted, "published": published})  # type: ignore[arg-type]


def a_replica(
    state: str = "Available",
    *,
    until: dt.datetime | None = NOW + MINUTE,
    polled_at: dt.datetime | None = NOW,
    node: str | None = "n1",
    rebuilding: bool = False,
    life: LifeState = LifeState.READY,
) -> ReplicaRow:
    return ReplicaRow(
        id=1,
        uuid="r1",
        backend_id=node,
        replica_state=ReplicaState(state),
        replica_state_since=NOW,
        rebuilding=rebuilding,
        state=life,
        backend__available_until=until,
        backend__polled_at=polled_at,
        exported=False,
        exporting=False,
    )


def away(state: str = "Available") -> ReplicaRow:
    return a_replica(state, until=NOW - MINUTE)


def not_asked(state: str = "Available") -> ReplicaRow:
    return a_replica(state, until=NOW - MINUTE, polled_at=NOW - 2 * MINUTE)


def examples() -> list[tuple[str, ...]]:
    text = PAGE.read_text().partition("Examples:")[2]
    rows = re.findall(r"^\| (\d) \| (.+) \| (yes|no) \| `(\w+)` \|$", text, re.MULTILINE)
    assert len(rows) == 14
    return rows


def described(text: str) -> ReplicaRow:
    """Return a replica that is given in the notation of the page."""
    if text == "rebuilt by a copy":
        return a_replica("Synchronizing", rebuilding=True)
    state, _, node = text.partition(" on an ")
    return away(state) if node == "unavailable node" else a_replica(state)


@pytest.mark.parametrize(("wanted", "replicas", "published", "health"), examples())
def test_the_examples_of_the_page_have_the_stated_health(
    wanted: str, replicas: str, published: str, health: str
) -> None:
    rows = [described(text) for text in replicas.split(", ") if text != "and no other"]
    volume = a_volume(int(wanted), published=published == "yes")
    assert volume_health(volume, rows, NOW).health == health


@pytest.mark.parametrize(
    ("wanted", "replicas", "health"),
    [
        (1, [not_asked("Unknown")], Health.UNKNOWN),
        (2, [a_replica(), not_asked()], Health.UNKNOWN),
        (3, [a_replica(), not_asked(), a_replica("Missing")], Health.DEGRADED),
        (3, [not_asked(), a_replica("Missing"), a_replica("Missing")], Health.UNKNOWN),
        (2, [not_asked("Synchronizing"), away()], Health.FAULTED),
        (2, [a_replica("Unknown"), a_replica("Unknown")], Health.HEALTHY),
        (2, [a_replica("Unknown"), a_replica("Missing")], Health.DEGRADED),
        (2, [a_replica("Unknown"), away()], Health.FAULTED),
        (2, [a_replica(), a_replica("Unknown")], Health.REBUILDING),
        (2, [a_replica(), a_replica("Unknown", life=LifeState.CREATING)], Health.REBUILDING),
        (2, [a_replica(), a_replica("Missing", node=None, until=None)], Health.DEGRADED),
        (2, [a_replica("Terminating"), a_replica("Missing")], Health.FAULTED),
        (1, [], Health.FAULTED),
    ],
)
def test_the_health_of_a_published_volume_follows_from_its_replicas(
    wanted: int, replicas: list[ReplicaRow], health: Health
) -> None:
    assert volume_health(a_volume(wanted, published=True), replicas, NOW).health is health


def test_the_reason_names_each_replica_that_cannot_be_used() -> None:
    replicas = [
        a_replica(),
        away(),
        a_replica("Missing"),
        a_replica("Missing", node=None, until=None, polled_at=None),
    ]
    assert volume_health(a_volume(2, published=True), replicas, NOW).reason == (
        "1 of 2 replicas can be used; replica r1 is on node n1, which is Unavailable; "
        "replica r1 on node n1 is Missing; replica r1 was on a node that was removed by force"
    )


def test_the_reason_says_that_replicas_do_not_exist() -> None:
    found = volume_health(a_volume(2, published=False), [a_replica()], NOW)
    assert found.reason == "1 of 2 replicas can be used; number of replicas: 1"


@pytest.mark.parametrize(
    ("volumes", "away", "health", "reason"),
    [
        ({}, 0, Health.HEALTHY, ""),
        ({Health.HEALTHY: 9}, 0, Health.HEALTHY, ""),
        ({Health.REBUILDING: 1}, 0, Health.REBUILDING, "1 volume Rebuilding"),
        ({Health.REBUILDING: 1}, 1, Health.DEGRADED, "1 volume Rebuilding, 1 node Unavailable"),
        (
            {Health.UNKNOWN: 1, Health.DEGRADED: 2},
            0,
            Health.UNKNOWN,
            "1 volume Unknown, 2 volumes Degraded",
        ),
        (
            {Health.FAULTED: 2, Health.UNKNOWN: 1},
            2,
            Health.FAULTED,
            "2 volumes Faulted, 1 volume Unknown, 2 nodes Unavailable",
        ),
    ],
)
def test_the_health_of_the_pool_is_the_worst_of_its_parts(
    volumes: dict[Health, int], away: int, health: Health, reason: str
) -> None:
    nodes = {NodeHealth.UNAVAILABLE: away, NodeHealth.CORDONED: 1, NodeHealth.AVAILABLE: 3}
    assert pool_health(volumes, nodes) == (health, reason)
