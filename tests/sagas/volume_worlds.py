"""Volumes as the sagas' tests need them: with content, in use or not, and a host that does its
part.
"""

from dataclasses import dataclass, field

from inventory.nodes.engines.simulated import SimulatedFleet, SimulatedNode
from tests.api.volume_steps import HOST, created, probe_host, published
from tests.conftest import Api
from tests.services.test_unfinished import collect_overdue
from volumes.models import Export, Replica, Volume
from volumes.selectors import LIVE
from volumes.services.audit import audit

DATA = "what the host wrote"


@dataclass
class World:
    """``uuid``: the volume that was made last, of ``replicas``; ``before``: their uuids."""

    api: Api
    fleet: SimulatedFleet
    replicas: int = 2
    is_published: bool = False
    uuid: str = ""
    before: list[str] = field(default_factory=list)
    made: int = 0

    def volume(self) -> str:
        """A new one whose replicas hold DATA and, of several, are Available."""
        self.made += 1
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
        """The replica that was made last."""
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
        """What an agent does when it looks at its volume: fills what is new, and lets go of what
        is Terminating.
        """
        for row in self.rows():
            path = f"/replica/{self.uuid}/{row.uuid}"
            if row.replica_state == "Terminating":
                assert self.api.delete(path).status == "Success"
            elif row.replica_state != "Available" and self.is_reached(row):
                self.node(row).write(row.uuid, DATA)
                self.report(row.uuid, "Available")

    def is_reached(self, row: Replica) -> bool:
        """A host's target on the node has it."""
        return Export.objects.filter(LIVE, replica=row, for_copy=False, state="READY").exists()

    def expect(self, replicas: int) -> None:
        """That many replicas, all with the data and none half done; nodes and budgets agree."""
        collect_overdue()
        rows = self.rows()
        assert len(rows) == replicas
        state = "Available" if self.replicas > 1 else "Unknown"
        for row in rows:
            assert (row.state, row.filling) == ("READY", False)
            assert row.replica_state == state
            assert self.node(row).read(row.uuid) == DATA
        assert not Export.objects.filter(for_copy=True).exists()
        assert Volume.objects.get(uuid=self.uuid).state == "READY"
        assert audit() == []
