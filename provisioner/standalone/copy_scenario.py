"""The part of the scenario about copies: a snapshot and a clone."""

import uuid
from typing import Any

from provisioner.standalone.scenario_runner import ScenarioRunner


class CopyScenario:
    """``prefix``: the path of the tenant that owns the volumes."""

    def __init__(self, runner: ScenarioRunner, prefix: str) -> None:
        self._runner = runner
        self._prefix = prefix
        self._made: list[str] = []

    def snapshot_and_clone(self, volume: str) -> None:
        self._runner.step("A snapshot, a snapshot volume, and an independent clone")
        snapshot = self._made_as(
            "snapshots", "snapshots", {"alias": "before-upgrade", "volumeID": volume}
        )
        self._made_as("snapshot_volumes", "volumes", {"alias": "look-back", "snapshotID": snapshot})
        self._runner.send(
            "DELETE", f"{self._prefix}/snapshots/{snapshot}", codes=("VolumeIsInUse",)
        )
        self._made_as("clone_volume", "volumes", {"alias": "copy", "sourceVolumeId": volume})

    def clean_up(self) -> None:
        """Delete in reverse order: a snapshot cannot be deleted before its volume."""
        while self._made:
            self._runner.send("DELETE", self._made.pop())

    def _made_as(self, operation: str, collection: str, wanted: dict[str, Any]) -> str:
        answer = self._runner.send("POST", f"{self._prefix}/{operation}", wanted)
        self._made.append(f"{self._prefix}/{collection}/{answer['persistentId']}")
        return str(uuid.UUID(answer["persistentId"]))
