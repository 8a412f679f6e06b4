"""The schedule of faults: the kind, time, victim and duration of each. One seed determines all of
them.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    KILL_API = "kill an API"
    KILL_WORKER = "kill a worker"
    STOP_BEAT = "stop beat"
    FLUSH_REDIS = "flush Redis"
    CRASH_POSTGRES = "crash PostgreSQL"
    RENEW_CERTIFICATES = "renew the certificates"
    PARTITION = "partition a node"
    RESTART_NODE = "restart a node"
    SLOW_NODE = "slow a node"
    LOSE_REPLIES = "lose a node's replies"
    LOSE_REQUESTS = "lose a node's requests"
    DRAIN_NODE = "drain a node"
    LOSE_VOLUME = "a node loses one volume"
    EMPTY_NODE = "a node comes back empty"


VICTIMS = {
    Kind.KILL_API: 2,
    Kind.KILL_WORKER: 4,
    Kind.STOP_BEAT: 2,
    Kind.FLUSH_REDIS: 1,
    Kind.CRASH_POSTGRES: 1,
    Kind.RENEW_CERTIFICATES: 1,
}
"""How many there are; of all other kinds: the nodes."""

LASTS = {
    Kind.FLUSH_REDIS: (0.0, 0.0),
    Kind.RENEW_CERTIFICATES: (0.0, 0.0),
    Kind.RESTART_NODE: (0.0, 0.0),
    Kind.LOSE_VOLUME: (0.0, 0.0),
    Kind.EMPTY_NODE: (0.0, 0.0),
    Kind.CRASH_POSTGRES: (0.2, 2.0),
    Kind.PARTITION: (2.0, 12.0),
    Kind.DRAIN_NODE: (5.0, 15.0),
}
USUALLY_LASTS = (1.0, 6.0)
PAUSE = (0.5, 2.5)
QUIET_AT_END = 5.0


@dataclass(frozen=True)
class Fault:
    """A fault. Times are in seconds since the start. ``victim`` is a number."""

    at: float
    kind: Kind
    victim: int
    seconds: float

    @property
    def ends_at(self) -> float:
        return self.at + self.seconds

    @property
    def is_of_node(self) -> bool:
        return self.kind not in VICTIMS


def schedule(seed: int, *, seconds: float, nodes: int, kinds: tuple[Kind, ...]) -> list[Fault]:
    """Return faults until shortly before the end. Each kind comes once before any kind comes again.
    A victim never has two faults at once.
    """
    chance = random.Random(f"schedule-{seed}")
    order = _in_turn(chance, kinds)
    faults: list[Fault] = []
    at = chance.uniform(*PAUSE)
    while at < seconds - QUIET_AT_END:
        kind = next(order)
        lasts = min(chance.uniform(*LASTS.get(kind, USUALLY_LASTS)), seconds - at)
        fault = Fault(at, kind, chance.randrange(VICTIMS.get(kind, nodes)), lasts)
        if not any(_collide(fault, other) for other in faults):
            faults.append(fault)
        at += chance.uniform(*PAUSE)
    return faults


def _in_turn(chance: random.Random, kinds: tuple[Kind, ...]) -> Iterator[Kind]:
    while True:
        yield from chance.sample(kinds, len(kinds))


def _collide(fault: Fault, other: Fault) -> bool:
    same_kind = fault.kind == other.kind or (fault.is_of_node and other.is_of_node)
    return same_kind and fault.victim == other.victim and fault.at <= other.ends_at
