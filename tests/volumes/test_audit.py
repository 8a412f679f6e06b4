"""The audit compares the data planes with the records of their agents."""

from collections.abc import Callable

import pytest

from inventory.nodes.drift import DriftItem, DriftKind
from inventory.nodes.engines.simulated import SimulatedEngine, SimulatedFleet
from tests.api.volume_steps import created
from tests.conftest import Api
from volumes.audit import Difference, audit

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


@pytest.fixture
def engine(pool: Pool, fleet: SimulatedFleet) -> SimulatedEngine:
    pool(1)
    engine = fleet.nodes[0].agent.engine
    assert isinstance(engine, SimulatedEngine)
    return engine


def test_the_audit_reports_drift(api: Api, engine: SimulatedEngine, fleet: SimulatedFleet) -> None:
    created(api, "v")
    assert audit() == []
    engine.strange = (
        DriftItem(kind=DriftKind.LOST, name="ssd-1/v-x"),
        DriftItem(kind=DriftKind.RAID, name="v-y"),
    )
    node = f"node {fleet.nodes[0].agent.identity.persistent_id}"
    assert audit() == [
        Difference(node, "has lost ssd-1/v-x, which its agent recorded"),
        Difference(node, "has the RAID v-y, which its agent did not create"),
    ]
    engine.strange = ()
    assert audit() == []


def test_space_that_thin_volumes_outgrew_is_no_difference(
    api: Api, engine: SimulatedEngine
) -> None:
    created(api, "v")
    engine.change(ssds=tuple(ssd.model_copy(update={"outgrown": 2**30}) for ssd in engine.ssds))
    assert audit() == []


def test_nodes_are_read_a_few_at_a_time(
    pool: Pool, fleet: SimulatedFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("volumes.audit.AT_ONCE", 2)
    nodes = sorted(pool(3))
    for node in fleet.nodes[:3]:
        engine = node.agent.engine
        assert isinstance(engine, SimulatedEngine)
        engine.strange = (DriftItem(kind=DriftKind.LOST, name="v"),)
    assert [one.subject for one in audit()] == [f"node {node}" for node in nodes]
