"""The part of the scenario with volumes in use, by a simulated host that uses the API."""

from collections.abc import Mapping

from provisioner.standalone.client import Client
from provisioner.standalone.scenario_runner import ScenarioRunner, StepFailed
from provisioner.standalone.system import HOST_NAME

SECONDS = 60.0
CUT_OFF = {
    "dropProbes": True,
    "calls": [{"kind": "LOSE_REQUEST", "path": "/v1", "times": 0}],
}


class LiveScenario:
    """``prefix``: the path of the tenant that owns the volumes. ``nodes``: clients for the fault
    API of the simulated nodes, by port. ``host``: the uuid of the host, as soon as it is known.
    """

    def __init__(self, runner: ScenarioRunner, prefix: str, nodes: Mapping[int, Client]) -> None:
        self._runner = runner
        self._prefix = prefix
        self._nodes = nodes
        self.host = ""

    def publish(self, *volumes: str) -> None:
        self._runner.step(
            "A host sends a probe, and both volumes are published to it in one target"
        )
        self._runner.wait(SECONDS, "the host has probed", lambda: bool(self._hosts()))
        [self.host] = self._hosts()
        for volume in volumes:
            body = {"hostId": self.host, "volId": volume}
            self._runner.send("POST", f"{self._prefix}/publish", body)
        [target] = self._runner.get(f"/targets?hostId={self.host}")
        self._runner.check(target["numNamespaces"] >= 2, "the target should contain both volumes")

    def migrate(self, volume: str) -> None:
        self._runner.step("A replica moves to another node while the host uses the volume")
        self._come_to(volume, "each replica is Available for the host", {"Available"})
        known = set(self._states(volume))
        body = {"volId": volume, "repId": min(known)}
        task = self._runner.send("POST", f"{self._prefix}/migrate_volume", body)["taskId"]
        end = self._runner.watch(
            SECONDS,
            "the host has moved the replica",
            lambda: self._progress(task),
            lambda shown: not shown.startswith(("IDLE", "RUNNING")),
        )
        self._runner.check(end.startswith("FINISHED"), "the task should be FINISHED")
        now = set(self._states(volume))
        self._runner.check(len(now - known) == 1, "a new replica should have replaced it")
        self._runner.check(known - now == {min(known)}, "the replica should have moved")

    def lose_a_node(self, volume: str) -> None:
        self._runner.step("A node fails and comes back, and the host rebuilds its replica")
        node, admin = self._node_of(volume)
        self._runner.note(f"node {node} stops answering: PUT {admin.url}/sim/faults")
        put = admin.call("PUT", "/sim/faults", CUT_OFF)
        self._runner.check(put.http_status == 200, "the node should accept the fault")
        self._come_to(volume, "the host reports its replica Missing", {"Available", "Missing"})
        self._runner.note(f"node {node} is back: DELETE {admin.url}/sim/faults")
        admin.call("DELETE", "/sim/faults")
        self._come_to(volume, "the replica is Available again", {"Available"})

    def _node_of(self, volume: str) -> tuple[str, Client]:
        """A node of the demo that holds a replica; the pool may contain other nodes."""
        [shown] = self._runner.read(f"{self._prefix}/volumes/{volume}").body
        for place in shown["location"]:
            node = place["backend"]["persistentID"]
            [backend] = self._runner.read(f"/backends/{node}").body
            if admin := self._nodes.get(backend["mgmtPort"]):
                return node, admin
        raise StepFailed("no replica is on a node of the demo")

    def _hosts(self) -> list[str]:
        hosts = self._runner.read(f"/hosts?hostName={HOST_NAME}-1").body
        return [host["uuid"] for host in hosts if host["state"] == "Available"]

    def _come_to(self, volume: str, what: str, states: set[str]) -> None:
        self._runner.watch(
            SECONDS,
            what,
            lambda: "  ".join(self._states(volume).values()),
            lambda shown: set(shown.split()) == states,
        )

    def _states(self, volume: str) -> dict[str, str]:
        [shown] = self._runner.read(f"{self._prefix}/volumes/{volume}").body
        return {place["uuid"]: place["replicaState"] for place in shown["location"]}

    def _progress(self, task: str) -> str:
        [shown] = self._runner.read(f"/tasks?taskId={task}").body
        return f"{shown['state']}  {shown['progress']:.1f} %"
