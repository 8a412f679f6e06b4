"""The part of the scenario about copies: a snapshot, a clone, and a replica that moves."""

import uuid
from typing import Any

from provisioner.standalone.stage import Stage


class Copies:
    """``prefix``: the path of the tenant whose volumes these are."""

    def __init__(self, stage: Stage, prefix: str) -> None:
        self._stage = stage
        self._prefix = prefix
        self._made: list[str] = []

    def snapshot_and_clone(self, volume: str) -> None:
        self._stage.step("A snapshot, a volume to read it by, and a clone that lives on its own")
        snapshot = self._made_as(
            "snapshots", "snapshots", {"alias": "before-upgrade", "volumeID": volume}
        )
        self._made_as("snapshot_volumes", "volumes", {"alias": "look-back", "snapshotID": snapshot})
        self._stage.send("DELETE", f"{self._prefix}/snapshots/{snapshot}", codes=("VolumeIsInUse",))
        self._made_as("clone_volume", "volumes", {"alias": "copy", "sourceVolumeId": volume})

    def migrate(self, volume: str, host: str) -> None:
        """Plays the host's agent: it takes the task and does the work."""
        self._stage.step("A replica moves to another node while the host uses the volume")
        known = set(self._replicas(volume))
        for replica in known:
            self._stage.send("PATCH", f"{self._prefix}/replica/{volume}/{replica}/Available")
        leaving = min(known)
        body = {"volId": volume, "repId": leaving}
        self._stage.send("POST", f"{self._prefix}/migrate_volume", body)
        tasks = self._stage.get(f"/tasks?hostId={host}")
        task = next(t for t in tasks if t["state"] == "IDLE")
        mine = {"taskId": task["taskId"], "hostId": host}
        self._stage.send("PUT", "/tasks", mine | {"state": "RUNNING"})
        self._stage.send("POST", f"{self._prefix}/replica/{volume}", {"sameRackAllowed": True})
        [new] = set(self._replicas(volume)) - known
        self._stage.send("PUT", "/tasks", mine | {"progress": 62.5})
        self._stage.send("PATCH", f"{self._prefix}/replica/{volume}/{new}/Available")
        self._stage.send("PATCH", f"{self._prefix}/replica/{volume}/{leaving}")
        self._stage.send("DELETE", f"{self._prefix}/replica/{volume}/{leaving}")
        self._stage.send("PUT", "/tasks", mine | {"state": "FINISHED", "progress": 100})
        now = set(self._replicas(volume))
        self._stage.check(now == known - {leaving} | {new}, "the replica should have moved")

    def clean_up(self) -> None:
        """What was made last goes first: a snapshot waits for its volume."""
        while self._made:
            self._stage.send("DELETE", self._made.pop())

    def _made_as(self, operation: str, collection: str, wanted: dict[str, Any]) -> str:
        answer = self._stage.send("POST", f"{self._prefix}/{operation}", wanted)
        self._made.append(f"{self._prefix}/{collection}/{answer['persistentId']}")
        return str(uuid.UUID(answer["persistentId"]))

    def _replicas(self, volume: str) -> list[str]:
        [shown] = self._stage.read(f"{self._prefix}/volumes/{volume}").body
        return [place["uuid"] for place in shown["location"]]
