"""Shared steps of the tests of host NQNs."""

import datetime as dt

from django.utils import timezone

from inventory.nodes.engines.simulated import SimulatedNode
from tests.conftest import Api
from volumes.models import Export
from volumes.reconcilers.garbage_collector import collect


def pool_again(api: Api, node: SimulatedNode) -> None:
    answer = api.post("/backends", {"mgmtIPs": [node.address], "mgmtPort": node.port})
    assert answer.status == "Success", answer


def collect_all() -> None:
    """Run the collector as if all deadlines had passed."""
    Export.objects.exclude(deadline_at=None).update(deadline_at=timezone.now() - dt.timedelta(1))
    collect()
