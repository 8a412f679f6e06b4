"""The scenario of the demo: a client goes from empty nodes to published volumes."""

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from provisioner.standalone.client import Client
from provisioner.standalone.copy_scenario import CopyScenario
from provisioner.standalone.live_scenario import LiveScenario
from provisioner.standalone.scenario_runner import ScenarioRunner

GIB = 2**30
BUDGET_GIB = 400
RACKS = ("rack-1", "rack-2")


class Scenario:
    """``nodes``: address and port of four storage nodes. ``admins``: clients for the fault API of
    simulated nodes, by port.
    """

    def __init__(
        self, runner: ScenarioRunner, nodes: Sequence[tuple[str, int]], admins: Mapping[int, Client]
    ) -> None:
        self._runner = runner
        self._nodes = nodes
        self._tenant = f"demo-{uuid.uuid4().hex[:6]}"
        self._started_at = time.time() * 1000
        self._volumes: dict[str, str] = {}
        self._copies = CopyScenario(runner, f"/{self._tenant}")
        self._online = LiveScenario(runner, f"/{self._tenant}", admins)

    def play(self) -> None:
        """Run all steps in order.

        :raises StepFailed: a step had the wrong result.
        :raises NoAnswer: the API did not answer.
        """
        for step in (
            self.add_nodes,
            self.wait_for_probes,
            self.create_tenant,
            self.create_volumes,
            lambda: self._online.publish(*self._volumes.values()),
            self.expand,
            lambda: self._copies.snapshot_and_clone(self._volumes["database"]),
            lambda: self._online.migrate(self._volumes["archive"]),
            lambda: self._online.lose_a_node(self._volumes["archive"]),
            self.be_refused,
            self.clean_up,
            self.read_metrics,
        ):
            step()

    def add_nodes(self) -> None:
        self._runner.step("Four storage nodes join the pool: two racks, two zones")
        for number, (address, port) in enumerate(self._nodes):
            node = {
                "mgmtIPs": [address],
                "mgmtPort": port,
                "rack": RACKS[number // 2],
                "zone": f"zone-{1 + number % 2}",
            }
            answer = self._runner.send(
                "POST", "/backends", node, codes=("Success", "AlreadyExists")
            )
            if answer["status"] == "AlreadyExists":
                self._runner.note("it was added in an earlier run")

    def wait_for_probes(self) -> None:
        self._runner.step("The nodes send probes")
        self._runner.wait(60, "each node has sent a probe and is Available", self._all_available)
        for node in self._runner.read("/backends").body:
            place = f"{node.get('rack', 'no rack')}  {node.get('zone', 'no zone')}"
            self._runner.note(
                f"{node['persistentID']}  {node['state']}  {place}  "
                f"{node['availableCapacity'] // GIB} of {node['totalCapacity'] // GIB} GiB free"
            )

    def create_tenant(self) -> None:
        self._runner.step(f"A tenant with a budget of {BUDGET_GIB} GiB")
        tenant = {
            "name": self._tenant,
            "tenantId": self._tenant,
            "capacity": BUDGET_GIB,
            "totalIOPS": 1_000_000,
            "totalBW": 1_000_000_000,
        }
        self._runner.send("POST", "/tenants", tenant)

    def create_volumes(self) -> None:
        self._runner.step("Two volumes: one thick copy, and three thin ones on three nodes")
        self._create("database", 20, "THICK", numReplicas=1)
        self._create("archive", 100, "THIN", numReplicas=3, sameRackAllowed=True)
        [volume] = self._runner.get(f"/{self._tenant}/volumes_by_alias/archive")
        nodes = {replica["backend"]["persistentID"] for replica in volume["location"]}
        self._runner.check(len(nodes) == 3, "three replicas should be on three nodes")
        self._runner.note(f"its replicas are on {', '.join(sorted(nodes))}")

    def expand(self) -> None:
        self._runner.step("The first volume is expanded while it is in use")
        path = self._path(f"volumes/{self._volumes['database']}")
        self._runner.send("PATCH", path, {"newCapacity": 40})
        [volume] = self._runner.get(path)
        self._runner.check(volume["capacity"] == 40 * GIB, "its capacity should be 40 GiB")

    def be_refused(self) -> None:
        self._runner.step("A request that cannot be fulfilled is refused with a reason")
        elsewhere = self._volume("elsewhere", 20, "THICK", zones=["zone-9"])
        for path in ("volumes?dryRun=true", "volumes"):
            answer = self._runner.send(
                "POST", self._path(path), elsewhere, codes=("Success", "NoMatchingBackend")
            )
            explained = answer.get("explanation", answer["description"])
            self._runner.note(explained)
            self._runner.check("zone" in explained, "the answer should name the filter: zone")
            self._runner.check(not answer.get("chosen"), "no node should be chosen")
        self._runner.check(answer["status"] != "Success", "the volume should not exist")
        too_large = self._volume("too-large", BUDGET_GIB, "THICK")
        self._runner.send(
            "POST", self._path("volumes"), too_large, codes=("TenantCapacityExceeded",)
        )

    def clean_up(self) -> None:
        self._runner.step("All objects are deleted again")
        self._copies.clean_up()
        host = {"hostId": self._online.host}
        for volume in self._volumes.values():
            self._runner.send("POST", self._path("unpublish"), {"volId": volume} | host)
            self._runner.send("DELETE", self._path(f"volumes/{volume}"))
        left = self._runner.get(self._path("volumes"))
        self._runner.check(not left, "the tenant should have no volumes")
        self._runner.send("DELETE", f"/tenants/{self._tenant}")

    def read_metrics(self) -> None:
        self._runner.step("Metrics, as Prometheus reads them")
        text = self._runner.text("/metrics")
        families = {f.name: f for f in text_string_to_metric_families(text)}
        for name in ("ks_node_state", "ks_node_free_capacity_bytes", "ks_node_used_iops"):
            self._runner.check(name in families, f"{name} should be one of the metrics")
        available = sum(sample.value == 1 for sample in families["ks_node_state"].samples)
        self._runner.check(available >= len(self._nodes), "each node should count as Available")
        self._runner.note(f"{len(families)} metrics; {available} nodes Available")

    def _all_available(self) -> bool:
        backends = self._runner.read("/backends").body
        ports = {port for _, port in self._nodes}
        return ports <= {
            backend["mgmtPort"]
            for backend in backends
            if backend["state"] == "Available"
            and backend.get("lastProbTime", 0) >= self._started_at
        }

    def _create(self, alias: str, gib: int, kind: str, **storage_class: Any) -> None:
        wanted = self._volume(alias, gib, kind, **storage_class)
        self._runner.send("POST", self._path("volumes"), wanted)
        self._volumes[alias] = wanted["uuid"]

    def _volume(self, alias: str, gib: int, kind: str, **storage_class: Any) -> dict[str, Any]:
        return {
            "alias": alias,
            "uuid": str(uuid.uuid4()),
            "capacity": gib,
            "provisioningType": kind,
            # place the volumes on the demo's own nodes, in which the scenario can cause faults
            "storageClass": {"racks": list(RACKS), **storage_class},
        }

    def _path(self, rest: str) -> str:
        return f"/{self._tenant}/{rest}"
