"""The rules of health (docs/explanation/health.md), applied to plain values, without queries.

:mod:`volumes.health_selectors` expresses the same rules in SQL, for filters and counts. A test
compares both for every combination of states.
"""

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from django.db.models import TextChoices

from inventory.health import NodeHealth
from provisioner.common.models import LifeState
from tasks.selectors import Progress
from volumes.models import ReplicaState
from volumes.read_models import ReplicaRow, VolumeRow


class Health(TextChoices):
    """Health of a volume or of the pool, the worst first."""

    FAULTED = "Faulted"
    UNKNOWN = "Unknown"
    DEGRADED = "Degraded"
    REBUILDING = "Rebuilding"
    HEALTHY = "Healthy"


class VolumeHealth(NamedTuple):
    """Health of a volume.

    ``reason``: a sentence, or "" if Healthy. ``rebuild``: progress of the task that rebuilds a
    replica.
    """

    health: Health
    reason: str = ""
    rebuild: Progress | None = None


HEALTHY = VolumeHealth(Health.HEALTHY)
REBUILDING = Health.REBUILDING
AVAILABLE, UNKNOWN = ReplicaState.AVAILABLE, ReplicaState.UNKNOWN
TERMINATING, MISSING = ReplicaState.TERMINATING, ReplicaState.MISSING
READY = LifeState.READY  # like the names above, because finding a member takes longer than using it


class PoolHealth(NamedTuple):
    """Health of the pool. ``reason`` is "" if Healthy."""

    health: Health
    reason: str


class Condition(StrEnum):
    """The condition of one replica, as the end of a sentence. ``{}`` is replaced by the name of its
    node.
    """

    CURRENT = "on node {} is current"
    TERMINATING = "on node {} is being removed"
    MISSING = "on node {} is Missing"
    REMOVED = "was on a node that was removed by force"
    NOT_ASKED = "is on node {}, which is silent and has not been called since"
    UNREACHABLE = "is on node {}, which is Unavailable"
    REBUILDING = "on node {} is being rebuilt"
    INCOMPLETE = (
        "on node {} is incomplete, and no host rebuilds it because the volume is not published"
    )


CURRENT = Condition.CURRENT


def volume_health(
    volume: VolumeRow, replicas: Sequence[ReplicaRow], now: dt.datetime
) -> VolumeHealth:
    """Return the health of a volume that clients see. ``replicas``: all of its replicas that
    clients see.
    """
    current = _state_of_current(replicas)
    conditions = [_condition(r, now, current, published=volume.published) for r in replicas]
    if conditions.count(CURRENT) >= volume.num_replicas:
        return HEALTHY
    number = Counter(conditions)
    not_asked = sum(
        condition is Condition.NOT_ASKED and r.replica_state == current and _is_whole(r)
        for r, condition in zip(replicas, conditions, strict=True)
    )
    health = _health(volume.num_replicas, number, not_asked)
    texts = [f"{number[CURRENT]} of {_count(volume.num_replicas, 'replica')} can be used"]
    texts += [
        f"replica {r.uuid} {condition.format(r.backend_id)}"
        for r, condition in zip(replicas, conditions, strict=True)
        if condition is not CURRENT
    ]
    if len(replicas) < volume.num_replicas:
        texts.append(f"number of replicas: {len(replicas)}")
    return VolumeHealth(health, "; ".join(texts))


def _health(wanted: int, number: Mapping[Condition, int], not_asked: int) -> Health:
    """The health of a volume that has less than the wanted number of current replicas."""
    current = number[CURRENT]
    if not_asked and (current == 0 or current + not_asked >= wanted):
        return Health.UNKNOWN
    if current == 0:
        return Health.FAULTED
    return Health.REBUILDING if number[Condition.REBUILDING] else Health.DEGRADED


def _is_whole(replica: ReplicaRow) -> bool:
    """Whether the replica exists on its node and is not being rebuilt by a copy between nodes."""
    return replica.state == READY and not replica.rebuilding


def _state_of_current(replicas: Sequence[ReplicaRow]) -> ReplicaState:
    """The state of those whole replicas of a volume that hold current data.

    It is Available if a host or a copy has reported a replica Available. Before that, all Unknown
    replicas count as current.
    """
    for replica in replicas:
        if replica.replica_state == AVAILABLE and _is_whole(replica):
            return AVAILABLE
    return UNKNOWN


def _condition(
    replica: ReplicaRow, now: dt.datetime, current: ReplicaState, *, published: bool
) -> Condition:
    """``current``: the state of the volume's replicas that hold current data."""
    until, polled_at = replica.backend__available_until, replica.backend__polled_at
    if replica.replica_state == TERMINATING:
        return Condition.TERMINATING
    if until is None or polled_at is None:
        return Condition.REMOVED
    if replica.replica_state == MISSING:
        return Condition.MISSING
    if until < now:
        return Condition.NOT_ASKED if polled_at < until else Condition.UNREACHABLE
    is_whole = _is_whole(replica)
    if is_whole and replica.replica_state == current:
        return CURRENT
    return Condition.REBUILDING if published or not is_whole else Condition.INCOMPLETE


def pool_health(volumes: Mapping[Health, int], nodes: Mapping[NodeHealth, int]) -> PoolHealth:
    """Return the health of the pool. ``volumes``, ``nodes``: how many of them have which health."""
    away = nodes.get(NodeHealth.UNAVAILABLE, 0)
    bad = {health: n for health in Health if (n := volumes.get(health, 0))}
    bad.pop(Health.HEALTHY, None)
    kinds = set(bad) | ({Health.DEGRADED} if away else set())
    worst = next((health for health in Health if health in kinds), Health.HEALTHY)
    texts = [f"{_count(n, 'volume')} {health}" for health, n in bad.items()]
    texts += [f"{_count(away, 'node')} {NodeHealth.UNAVAILABLE}"] if away else []
    return PoolHealth(worst, ", ".join(texts))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
