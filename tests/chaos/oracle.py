"""Predicts, from the answers, which objects must exist at the end."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.contents import Contents


@dataclass
class ExpectedObject:
    """A volume or snapshot. ``there``, ``published``, ``mark``: None if the answers do not
    determine it. ``gib``: the sizes that it may have. ``mark``: its content; "" means zeros.
    """

    kind: str
    uuid: str
    tenant: str
    host: str = ""
    gib: set[int] = field(default_factory=set)
    replicas: int = 1
    parent: "ExpectedObject | None" = None
    there: bool | None = None
    published: bool | None = False
    mark: str | None = ""
    rests_until: float = 0.0
    log: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        return f"/{self.tenant}/{self.kind}/{self.uuid}"

    def note(self, text: str) -> None:
        self.log.append(f"{time.strftime('%H:%M:%S')} {text}")


class Oracle:
    """All objects that were requested, and all contradictions to earlier answers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.things: dict[str, ExpectedObject] = {}
        self.findings: list[str] = []

    def add(self, thing: ExpectedObject) -> ExpectedObject:
        with self._lock:
            self.things[thing.uuid] = thing
        return thing

    def find(self, text: str, thing: ExpectedObject | None = None) -> None:
        """Record a contradiction."""
        lines = "".join(f"\n      {line}" for line in thing.log) if thing else ""
        with self._lock:
            self.findings.append(text + lines)

    def children(self, thing: ExpectedObject) -> list[ExpectedObject]:
        """Return the snapshots of a volume, or the volumes of a snapshot, that may exist."""
        with self._lock:
            return [t for t in self.things.values() if t.parent is thing and t.there is not False]

    def history(self) -> str:
        """Return the requests and answers for each object, as text."""
        lines = (f"{t.path}\n" + "".join(f"    {x}\n" for x in t.log) for t in self.things.values())
        return "".join(lines)

    def compare(
        self,
        volumes: list[dict[str, Any]],
        snapshots: list[dict[str, Any]],
        contents: Contents,
    ) -> None:
        """Compare the predictions with the lists of the API and the contents of the nodes, at the
        end of a run.
        """
        shown = {v["uuid"]: v for v in volumes} | {s["snapshotID"]: s for s in snapshots}
        for uuid in sorted(shown.keys() - self.things.keys()):
            self.find(f"nobody asked for {shown[uuid]}")
        for thing in self.things.values():
            row = shown.get(thing.uuid)
            if thing.there is True and row is None:
                self.find(f"{thing.path} was acknowledged and is not there", thing)
            elif thing.there is False and row is not None:
                self.find(f"{thing.path} was refused or deleted and is there", thing)
            elif row is not None and thing.kind == "volumes":
                self._compare_volume(thing, row)
                self._compare_content(thing, row["location"], contents)

    def _compare_volume(self, thing: ExpectedObject, row: dict[str, Any]) -> None:
        gib = row["capacity"] // 2**30
        if gib not in thing.gib:
            self.find(f"{thing.path} has {gib} GiB, should have {sorted(thing.gib)}", thing)
        places = row["location"]
        nodes = [place["backend"]["persistentID"] for place in places]
        if len(set(nodes)) != len(nodes) or "" in nodes:
            self.find(f"{thing.path}: its replicas are on {nodes}", thing)
        if len(nodes) != thing.replicas:
            self.find(f"{thing.path}: {len(nodes)} replicas, should be {thing.replicas}", thing)
        if thing.published is not None and row["inUse"] != thing.published:
            self.find(f"{thing.path}: published is {row['inUse']}", thing)
        if thing.published and not all(place["inUse"] for place in places):
            self.find(f"{thing.path}: not all replicas are exported: {places}", thing)

    def _compare_content(
        self, thing: ExpectedObject, places: list[dict[str, Any]], contents: Contents
    ) -> None:
        """Check that every replica is good, and holds the content that was written last."""
        states = {place["replicaState"] for place in places}
        if thing.there and thing.replicas > 1 and states not in ({"Available"}, {"Unknown"}):
            self.find(f"{thing.path}: its replicas are {sorted(states)}", thing)
        for place in places:
            found = contents.read(place)
            if thing.mark is not None and found != thing.mark:
                self.find(f"{thing.path}: {place} holds {found!r}, not {thing.mark!r}", thing)
