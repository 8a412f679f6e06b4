"""Volumes for the tests of sagas: with content, published or not, and with an acting host."""

from collections.abc import Callable
from dataclasses import dataclass, field

from inventory.nodes.engines.simulated import SimulatedFleet, SimulatedNode
from tasks.models import Task
from tests.api.volume_steps import HOST, created, probe_host, published
from tests.conftest import Api
from tests.volumes.reconcilers.garbage_collector_steps import collect_overdue
from tests.volumes.reconcilers.node_check_steps import check
from volumes.audit import audit
from volumes.models import Export, Replica, Volume
from volumes.selectors import LIVE

DATA = "what the host wrote"


def _come_back_empty(node: SimulatedNode, uuid: str) -> None:
    node.come_back_empty()


@dataclass
class World:
    """``uuid``: the newest volume, with ``replicas`` replicas. ``before``: the uuids of
    its replicas.
    """

    api: Api
    fleet: SimulatedFleet
    replicas: int = 2
    is_published: bool = False
    uuid: str = ""
    before: list[str] = field(default_factory=list)
    made: int = 0
    could_survive: bool = True

    def volume(self) -> str:
        """Make a volume whose replicas hold DATA; if there are several, they are Available."""
        self.made += 1
        self.could_survive = True
        alias = f"v{self.made}"
        self.uuid = created(self.api, alias, storageClass={"numReplicas": self.replicas})
        self.before = sorted(row.uuid for row in self.rows())
        for row in self.rows():
            self.node(row).write(row.uuid, DATA)
            if self.replicas > 1:
                self.report(row.uuid, "Available")
        if self.is_published:
            published(self.api, self.uuid, probe_host(self.api))
        return self.uuid

    def rows(self) -> list[Replica]:
        return list(Replica.objects.filter(LIVE, volume__uuid=self.uuid).order_by("pk"))

    def new(self) -> Replica:
        """Return the newest replica."""
        return self.rows()[-1]

    def node(self, replica: Replica) -> SimulatedNode:
        return next(n for n in self.fleet.nodes if n.persistent_id == replica.backend_id)

    def report(self, replica: str, state: str) -> None:
        answer = self.api.patch(f"/replica/{self.uuid}/{replica}/{state}")
        assert answer.status == "Success", answer

    def unpublish(self) -> None:
        answer = self.api.post("/unpublish", {"volId": self.uuid, "hostId": HOST})
        assert answer.status == "Success", answer

    def host_works(self, _: str) -> None:
        """Act like an agent that checks its volume: synchronize new replicas, and confirm
        removals.
        """
        for row in self.rows():
            path = f"/replica/{self.uuid}/{row.uuid}"
            if row.replica_state == "Terminating":
                assert self.api.delete(path).status == "Success"
            elif row.replica_state != "Available" and self.is_reached(row) and self.holds(row):
                self.node(row).write(row.uuid, DATA)
                self.report(row.uuid, "Available")

    def is_reached(self, row: Replica) -> bool:
        """Whether a host's target on the node has the replica."""
        return Export.objects.filter(LIVE, replica=row, for_copy=False, state="READY").exists()

    def holds(self, row: Replica) -> bool:
        """Whether the node has the replica, with any content."""
        return row.backend_id is not None and row.uuid in self.node(row).volumes()

    def losses(self) -> list[Callable[[], None]]:
        """Return what may be lost: the data of the first replica, of the second one, and of those
        that the task created.
        """
        rows = self.rows
        return [
            lambda: self._lose(rows()[:1], SimulatedNode.vanish),
            lambda: self._lose(rows()[1:2] if self.replicas > 1 else [], _come_back_empty),
            lambda: self._lose(
                [row for row in rows() if row.created_by_task], SimulatedNode.vanish
            ),
        ]

    def _lose(self, lost: list[Replica], way: Callable[[SimulatedNode, str], None]) -> None:
        for row in lost:
            way(self.node(row), row.uuid)
        good = [row for row in self.rows() if self.holds(row) and self.mark(row) == DATA]
        self.could_survive = bool(good)

    def mark(self, row: Replica) -> str:
        return self.node(row).read(row.uuid)

    def expect_no_false_data(self, task: Task) -> None:
        """Check that replicas that count as good are on their nodes with the data. If a replica
        could survive the loss, one did. Then remove the volume, and check that nothing is left.
        """
        self._look()
        rows = self.rows()
        for row in rows:
            assert (row.state, row.rebuilding) == ("READY", False)
            assert row.replica_state in {"Available", "Unknown", "Missing"}, row.replica_state
            assert self.holds(row) is (row.replica_state != "Missing")
            assert not self.holds(row) or self.mark(row) == DATA
        is_last = task.state == "FINISHED" and self.replicas == 1
        assert not self.could_survive or is_last or any(map(self.holds, rows)), task.description
        self._remove()
        assert audit() == []

    def _look(self) -> None:
        collect_overdue()
        check()
        collect_overdue()

    def _remove(self) -> None:
        if self.is_published and Volume.objects.get(uuid=self.uuid).publications.exists():
            self.unpublish()
        assert self.api.delete(f"/volumes/{self.uuid}").status == "Success"

    def expect(self, replicas: int) -> None:
        """Check that there is this number of replicas, all complete with the data, and that the
        audit finds nothing.
        """
        collect_overdue()
        rows = self.rows()
        assert len(rows) == replicas
        state = "Available" if self.replicas > 1 else "Unknown"
        for row in rows:
            assert (row.state, row.rebuilding) == ("READY", False)
            assert row.replica_state == state
            assert self.node(row).read(row.uuid) == DATA
        assert not Export.objects.filter(for_copy=True).exists()
        assert Volume.objects.get(uuid=self.uuid).state == "READY"
        assert audit() == []
