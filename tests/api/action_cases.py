"""The cases of each console action: an object, the input of a user, and the expected change."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone

from inventory.models import Backend, Host, License
from inventory.nodes.engines.simulated import SimulatedFleet
from tasks.models import Task, TaskState
from tests.api.action_steps import PASSWORD
from tests.api.licenses import issued
from tests.api.migration_steps import migrate
from tests.api.replicas_steps import all_available, replicated
from tests.api.snapshot_steps import snapped
from tests.api.tenants_steps import BUDGET
from tests.api.volume_steps import GIB, HOST, created, probe_host, published
from tests.conftest import Api
from volumes.models import Drain, Publication, Snapshot, Tenant, Volume


@dataclass(frozen=True)
class World:
    """The API, and two nodes in the pool."""

    api: Api
    fleet: SimulatedFleet
    node: str

    def volume(self, **fields: Any) -> Volume:
        return Volume.objects.get(uuid=created(self.api, "v", **fields))

    def used(self) -> Volume:
        """A volume that is published."""
        volume = self.volume()
        published(self.api, volume.uuid, probe_host(self.api))
        return volume

    def snapshot(self) -> Snapshot:
        return Snapshot.objects.get(uuid=snapped(self.api, self.volume().uuid, "s"))

    def of_volume(self) -> Backend:
        """The node that holds a volume."""
        replica = self.volume().replicas.get()
        return Backend.objects.get(pk=replica.backend_id)

    def migratable(self) -> Volume:
        """A volume of two replicas, which its host can migrate."""
        volume = Volume.objects.get(uuid=replicated(self.api, "v"))
        published(self.api, volume.uuid, probe_host(self.api))
        all_available(self.api, volume.uuid)
        return volume

    def task(self) -> Task:
        volume = self.migratable()
        replica = volume.replicas.earliest("pk")
        return Task.objects.get(pk=migrate(self.api, volume.uuid, replica.uuid).body["taskId"])

    def tenant(self) -> Tenant:
        assert self.api.post("/tenants", BUDGET).status == "Success"
        return Tenant.objects.get(name=BUDGET["name"])

    def absent_host(self) -> Host:
        probe_host(self.api)
        Host.objects.update(available_until=timezone.now())
        return Host.objects.get()

    def cordoned(self) -> Backend:
        Backend.objects.filter(pk=self.node).update(in_use=False)
        return self.backend()

    def drained(self) -> Backend:
        assert self.api.post(f"/backends/{self.node}/drain").status == "Success"
        return self.backend()

    def backend(self) -> Backend:
        return Backend.objects.get(pk=self.node)


def no_row(_: World) -> Any:
    return None


@dataclass(frozen=True)
class Case:
    """A case. ``row``: creates the object. ``typed``: the input in the form. ``done``: whether the
    change was made. ``opens``: the model whose page is shown next. ``needs_worker``: a worker
    completes the change.
    """

    row: Callable[[World], Any]
    done: Callable[[World, Any], bool]
    opens: str
    typed: Callable[[World], dict[str, Any]] = field(default=lambda _: {})
    needs_worker: bool = False


def _typed(**values: Any) -> Callable[[World], dict[str, Any]]:
    return lambda _: values


def _state(model: Any, row: Any) -> str:
    return str(model.objects.get(pk=row.pk).state)


def _new_node(world: World) -> dict[str, Any]:
    node = world.fleet.nodes[4]
    return {"mgmtIPs": node.address, "mgmtPort": node.port, "rack": "r9"}


CASES: dict[str, Case] = {
    "add_node": Case(
        no_row, lambda *_: Backend.objects.filter(rack="r9").exists(), "backend/", _new_node
    ),
    "cordon": Case(World.backend, lambda w, _: not w.backend().in_use, "backend/"),
    "uncordon": Case(World.cordoned, lambda w, _: w.backend().in_use, "backend/"),
    "drain": Case(World.backend, lambda *_: Drain.objects.exists(), "backend/"),
    "stop_drain": Case(World.drained, lambda *_: not Drain.objects.exists(), "backend/"),
    "remove_node": Case(
        World.backend, lambda w, _: not Backend.objects.filter(pk=w.node).exists(), "backend/"
    ),
    "remove_host": Case(World.absent_host, lambda *_: not Host.objects.exists(), "host/"),
    "create_volume": Case(
        no_row,
        lambda *_: Volume.objects.get(alias="new").num_replicas == 2,
        "volume/",
        _typed(**{"alias": "new", "capacity": 5, "storageClass.numReplicas": 2}),
    ),
    "expand": Case(
        World.volume,
        lambda _, v: Volume.objects.get(pk=v.pk).capacity_bytes == 20 * GIB,
        "volume/",
        _typed(newCapacity=20),
    ),
    "snapshot": Case(
        World.volume, lambda _, v: v.snapshots.get().alias == "s1", "snapshot/", _typed(alias="s1")
    ),
    "clone": Case(
        World.volume,
        lambda _, v: Volume.objects.get(alias="c1").cloned_from == v.uuid,
        "volume/",
        _typed(alias="c1"),
    ),
    "publish": Case(
        lambda w: probe_host(w.api) and w.volume(),
        lambda _, v: v.publications.get().host_id == HOST,
        "volume/",
        _typed(hostId=HOST),
    ),
    "unpublish": Case(
        World.used, lambda *_: not Publication.objects.exists(), "volume/", _typed(hostId=HOST)
    ),
    "migrate": Case(World.migratable, lambda _, v: Task.objects.get().volume_id == v.uuid, "task/"),
    "delete_volume": Case(World.volume, lambda *_: not Volume.objects.exists(), "volume/"),
    "snapshot_volume": Case(
        World.snapshot,
        lambda _, s: Volume.objects.get(alias="sv").snapshot_id == s.pk,
        "volume/",
        _typed(alias="sv"),
    ),
    "delete_snapshot": Case(World.snapshot, lambda *_: not Snapshot.objects.exists(), "snapshot/"),
    "create_tenant": Case(
        no_row,
        lambda *_: Tenant.objects.get(name="acme").capacity_bytes == 7 * GIB,
        "tenant/",
        _typed(name="acme", capacity=7, totalIOPS=0, totalBW=0),
    ),
    "change_budget": Case(
        World.tenant,
        lambda _, t: Tenant.objects.get(pk=t.pk).capacity_bytes == 9 * GIB,
        "tenant/",
        _typed(capacity=9, totalIOPS=0, totalBW=0),
    ),
    "delete_tenant": Case(
        World.tenant, lambda _, t: not Tenant.objects.filter(pk=t.pk).exists(), "tenant/"
    ),
    "issue_token": Case(
        no_row, lambda *_: True, "", _typed(expiration=3600, roles=["MONITOR"], password=PASSWORD)
    ),
    "install_license": Case(
        no_row,
        lambda *_: License.objects.get().max_backends == 8,
        "license/",
        lambda _: {"license": issued()},
        needs_worker=True,
    ),
    "stop_task": Case(World.task, lambda _, task: _state(Task, task) == TaskState.ABORTED, "task/"),
}
