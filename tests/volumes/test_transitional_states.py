"""Every transitional state has a deadline, a reconciler that handles it, and a text for clients."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, transaction
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from inventory.nodes.engines.simulated import SimulatedFleet
from provisioner.common.models import LifeState
from tests.api.snapshot_steps import snapped, snapshot
from tests.api.volume_steps import GIB, created, probe_host, published, volume
from tests.conftest import Api
from tests.volumes.reconcilers.node_check_steps import TWO, Pool
from tests.volumes.reconcilers.readopt_steps import remove
from volumes.models import Export, Publication, Replica, Snapshot, Volume
from volumes.pending import (
    export_pending_reason,
    publication_pending_reason,
    replica_row_pending_reason,
    snapshot_pending_reason,
    volume_pending_reason,
)
from volumes.reconcilers.garbage_collector import collect

pytestmark = pytest.mark.django_db(transaction=True)

TRANSITIONAL = [
    model
    for model in apps.get_models()
    if any(field.name == "deadline_at" for field in model._meta.fields)
]
WORDS: dict[type[Model], Callable[[Any], str]] = {
    Volume: volume_pending_reason,
    Replica: replica_row_pending_reason,
    Snapshot: snapshot_pending_reason,
    Publication: publication_pending_reason,
    Export: export_pending_reason,
}
GONE_AT_ONCE = {(Publication, LifeState.DELETING)}
"""States that are never written: the row is deleted at once, and its exports stay."""
UNFINISHED = [
    pytest.param(model, state, id=f"{model.__name__}-{state}")
    for model in TRANSITIONAL
    for state in (LifeState.CREATING, LifeState.DELETING)
    if (model, state) not in GONE_AT_ONCE
]


def make_everything(api: Api, fleet: SimulatedFleet) -> None:
    """Create one READY row of each model, on a node that is then down."""
    uuid = created(api, "v")
    snapped(api, uuid, "s")
    published(api, uuid, probe_host(api))
    fleet.nodes[0].faults.go_down()


def as_in(model: Any, state: LifeState) -> dict[str, Any]:
    """Return the fields to set for the state, including those that the constraints require."""
    is_withdrawn = (model, state) == (Export, LifeState.DELETING)
    return {"state": state} | ({"publication": None} if is_withdrawn else {})


def test_each_model_with_a_deadline_has_a_pending_reason() -> None:
    assert set(TRANSITIONAL) == set(WORDS)


@pytest.mark.parametrize(("model", "state"), UNFINISHED)
def test_the_collector_handles_each_overdue_row(
    api: Api, pool: Pool, fleet: SimulatedFleet, model: Any, state: LifeState
) -> None:
    pool(1)
    make_everything(api, fleet)
    past = timezone.now() - dt.timedelta(seconds=1)
    assert model.objects.update(deadline_at=past, **as_in(model, state)) == 1
    [row] = model.objects.all()
    assert WORDS[model](row) != ""
    collect()
    still = model.objects.filter(pk=row.pk, state=state, deadline_at=past)
    assert not still.exists()


def test_the_collector_handles_an_overdue_expansion(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    make_everything(api, fleet)
    past = timezone.now() - dt.timedelta(seconds=1)
    Volume.objects.update(expanding_to_bytes=15 * GIB, deadline_at=past)
    collect()
    assert not Volume.objects.filter(deadline_at=past).exists()


@pytest.mark.parametrize(("model", "state"), UNFINISHED)
def test_the_database_refuses_a_transitional_row_without_a_deadline(
    api: Api, pool: Pool, fleet: SimulatedFleet, model: Any, state: LifeState
) -> None:
    pool(1)
    make_everything(api, fleet)
    with pytest.raises(IntegrityError, match="passing_state_has_deadline"), transaction.atomic():
        model.objects.update(deadline_at=None, **as_in(model, state))


def test_a_volume_and_its_replicas_say_what_they_wait_for(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    nodes = pool(2)
    uuid = created(api, "v", storageClass=TWO)
    assert "waitsFor" not in volume(api, uuid)
    assert texts(api, uuid) == {nodes[0]: None, nodes[1]: None}
    fleet.nodes[1].faults.go_down()
    published(api, uuid, probe_host(api))
    assert texts(api, uuid) == {nodes[0]: None, nodes[1]: f"node {nodes[1]} to export it"}
    assert api.patch(f"/volumes/{uuid}", {"newCapacity": 15}).status == "NotAvailable"
    assert volume(api, uuid)["waitsFor"] == "its nodes to expand it to 15 GiB"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"replica_state": "Terminating"}, "its host to confirm that it no longer uses it"),
        ({"replica_state": "Synchronizing"}, "its host to synchronize it"),
        (
            {"replica_state": "Missing"},
            "its host to synchronize it, or a new replica",
        ),
        ({"rebuilding": True}, "its copy to node {} to end"),
        ({"state": "CREATING"}, "node {} to create it"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_replica_says_what_it_waits_for(
    api: Api, pool: Pool, changes: dict[str, Any], text: str
) -> None:
    nodes = pool(2)
    uuid = created(api, "v", storageClass=TWO)
    rows = Replica.objects.filter(backend=nodes[0])
    rows.update(deadline_at=timezone.now() + dt.timedelta(minutes=1), **changes)
    assert texts(api, uuid) == {nodes[0]: text.format(nodes[0]), nodes[1]: None}


def test_a_lost_only_replica_and_its_snapshot_say_what_they_wait_for(api: Api, pool: Pool) -> None:
    [node] = pool(1)
    uuid = created(api, "v")
    taken = snapped(api, uuid, "s")
    Replica.objects.update(replica_state="Missing")
    assert texts(api, uuid) == {node: f"node {node}, which lost its data, to find the data again"}
    remove(api, node)
    assert texts(api, uuid) == {"": "its node, which was removed by force"}
    assert snapshot(api, taken)["waitsFor"] == "its node, which was removed by force"


def test_pending_reasons_cost_no_query(api: Api, pool: Pool, fleet: SimulatedFleet) -> None:
    """A list of many volumes makes as many queries as a list of one."""
    pool(2)
    created(api, "v0", storageClass=TWO)
    one = list_queries(api)
    for number in range(1, 4):
        created(api, f"v{number}", storageClass=TWO)
    Replica.objects.update(replica_state="Missing")
    assert list_queries(api) == one


def list_queries(api: Api) -> int:
    from volumes.read_models import volume_rows
    from volumes.selectors import volumes_visible
    from volumes.views.presentation import volumes_json

    with CaptureQueriesContext(connection) as queries:
        rows = volumes_json(volume_rows(volumes_visible(None)))
    assert rows
    return len(queries)


def texts(api: Api, uuid: str) -> dict[str, str | None]:
    """Return, by node id, the reason why the replica there is pending."""
    places = volume(api, uuid)["location"]
    return {place["backend"]["persistentID"]: place.get("waitsFor") for place in places}
