"""Shared steps of the tests of killed processes."""

from inventory.nodes.engines.simulated import SimulatedFleet
from tests.conftest import RACKS, Api
from tests.system.conftest import Production
from tests.waiting import eventually
from volumes.audit import audit

SETTLED_SECONDS = 120


def pool_of(production: Production, fleet: SimulatedFleet) -> Api:
    for node, rack in zip(fleet.nodes, RACKS, strict=True):
        body = {"mgmtIPs": [node.address], "mgmtPort": node.port, "rack": rack}
        assert production.api.post("/backends", body).status == "Success"
    return production.api


def settled() -> None:
    eventually(lambda: audit() == [], seconds=SETTLED_SECONDS, what="the audit finds differences")
