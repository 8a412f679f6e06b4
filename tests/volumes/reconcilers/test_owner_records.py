"""The node check keeps the owner records of replicas up to date."""

import datetime as dt

import pytest
from django.utils import timezone

from inventory.models import Backend
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.nodes.wire import Owner
from inventory.services.node.clients import node_client
from tests.api.volume_steps import created, probe_host, published
from tests.conftest import Api
from tests.volumes.reconcilers.node_check_steps import TWO, Pool, check
from volumes.audit import audit
from volumes.models import Replica
from volumes.reconcilers.recovery.database import database_recover

pytestmark = pytest.mark.django_db(transaction=True)
SINCE = "incomplete_since"


def record(replica: Replica) -> Owner:
    node = node_client(Backend.objects.get(pk=replica.backend_id))
    [owner] = [found.owner for found in node.list_volumes() if found.uuid == replica.uuid]
    assert owner is not None
    return owner


def report(api: Api, replica: Replica, state: str) -> None:
    uuid = replica.volume.uuid
    assert api.patch(f"/replica/{uuid}/{replica.uuid}/{state}", {}).status == "Success"


def available(api: Api, pool: Pool) -> Replica:
    """Create and publish a volume of two replicas, which are Available. Returns the first one."""
    pool(2)
    published(api, created(api, "v", storageClass=TWO), probe_host(api))
    first, other = Replica.objects.order_by("pk")
    report(api, first, "Available")
    report(api, other, "Available")
    check()
    return first


def test_a_record_follows_the_state_of_its_replica(api: Api, pool: Pool) -> None:
    replica = available(api, pool)
    assert (record(replica).complete, SINCE in record(replica).more) == (True, False)
    report(api, replica, "Missing")
    since = Replica.objects.get(pk=replica.pk).replica_state_since
    assert audit() == []
    check()
    assert record(replica).complete is False
    assert dt.datetime.fromisoformat(record(replica).more[SINCE]) == since
    report(api, replica, "Available")
    assert audit() == []
    check()
    assert (record(replica).complete, SINCE in record(replica).more) == (True, False)


def test_an_older_database_does_not_make_an_incomplete_replica_complete(
    api: Api, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    """The database is a copy of its files, after which no generation was issued. So no node has
    seen a greater one. The host continued with the other replica.
    """
    replica = available(api, pool)
    copied_at = timezone.now()
    copied = {"replica_state": "Available", "replica_state_since": replica.replica_state_since}
    report(api, replica, "Missing")
    check()
    Replica.objects.filter(pk=replica.pk).update(**copied)
    check()
    assert record(replica).complete is False
    assert "an owner record is newer than the row of its replica" in caplog.text
    database_recover(since=copied_at)
    assert Replica.objects.get(pk=replica.pk).replica_state == "Missing"


def test_a_record_of_an_older_version_follows_the_row(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    """It does not say since when the replica is incomplete."""
    replica = available(api, pool)
    report(api, replica, "Missing")
    check()
    for node in fleet.nodes:
        node.agent._records._database.execute(
            f"UPDATE volume SET spec = json_remove(spec, '$.owner.more.{SINCE}')"  # noqa: S608
        )
    assert SINCE not in record(replica).more
    report(api, replica, "Available")
    check()
    assert record(replica).complete is True
