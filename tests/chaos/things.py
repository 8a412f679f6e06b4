"""The volumes and snapshots of one client, and its requests for them."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.chaos.caller import Caller, CallResult
from tests.chaos.oracle import ExpectedObject, Oracle

LOST = {"NotExists", "VolumeNotFound"}


@dataclass(frozen=True)
class Place:
    """The tenant and the host of a client."""

    number: int
    tenant: str
    host: str


class ClientObjects:
    """The objects of one client. Use it in one thread only."""

    def __init__(self, caller: Caller, oracle: Oracle, place: Place, seed: int) -> None:
        self._caller, self._oracle, self._place = caller, oracle, place
        self._chance = random.Random(f"client-{seed}-{place.number}")
        self._mine: list[ExpectedObject] = []
        self._made = 0

    def _new(
        self, kind: str, *, gib: int = 0, replicas: int = 1, parent: ExpectedObject | None = None
    ) -> ExpectedObject:
        uuid = f"{self._chance.getrandbits(128):032x}"
        sizes = {gib} if gib else set()
        place = self._place
        thing = ExpectedObject(kind, uuid, place.tenant, place.host, sizes, replicas, parent)
        return self._oracle.add(thing)

    def _alias(self) -> str:
        self._made += 1
        return f"c{self._place.number}-{self._made}"

    def _one(self, fits: Callable[[ExpectedObject], bool]) -> ExpectedObject | None:
        """Return a random object that fits. Objects to which nothing may happen for a while are
        omitted.
        """
        now = time.monotonic()
        rows = [t for t in self._mine if t.there and t.rests_until <= now and fits(t)]
        return self._chance.choice(rows) if rows else None

    def _make(self, operation: str, thing: ExpectedObject, path: str, body: dict[str, Any]) -> None:
        said = self._call(operation, thing, "POST", f"/{thing.tenant}/{path}", body, was=False)
        thing.there = None if said.unknown else said.done
        if said.code == "AlreadyExists":
            self._oracle.find(f"{thing.path} exists already, and is new", thing)
        if said.unknown:
            thing.mark = None if thing.mark or thing.parent else thing.mark
            time.sleep(0.5)
            rows = self._caller.read(thing.path)
            thing.note(f"look: {rows}")
            thing.there = True if rows else None
        if thing.there:
            self._mine.append(thing)

    def _call(
        self,
        operation: str,
        thing: ExpectedObject,
        method: str,
        path: str,
        body: Any = None,
        *,
        was: bool | None = True,
    ) -> CallResult:
        said = self._caller.ask(operation, thing, method, path, body)
        is_done = method == "DELETE" and said.code in LOST and self._caller.was_repeated(said)
        if was and said.code in LOST and not is_done:
            self._oracle.find(f"{thing.path} was acknowledged and is lost", thing)
        return said
