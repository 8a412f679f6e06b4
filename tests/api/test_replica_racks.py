"""Placement of replicas that the agent of release 3.22 requests: its lists are empty, and it never
allows one rack twice.
"""

from collections.abc import Callable
from typing import Any

import pytest

from inventory.models import Backend
from tests.api.released_clients import AGENT, ANYWHERE, HOST, ReleasedClient
from tests.api.replicas_steps import all_available, places, replicated, report
from tests.api.volume_steps import published
from tests.conftest import Answer, Api
from volumes.audit import audit

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
NAMES = ("a", "b", "a", "b")


@pytest.fixture
def agent(api: Api, pool: Pool) -> ReleasedClient:
    """The agent, in a pool of four nodes in two racks, each in its own zone."""
    for node, name in zip(pool(4), NAMES, strict=True):
        place = {"rack": f"rack-{name}", "zone": f"zone-{name}"}
        assert api.put(f"/backends/{node}", place).status == "Success"
    client = ReleasedClient.of(api, "HOST")
    client.probe(AGENT)
    return client


def attached(api: Api, **storage: Any) -> str:
    """A volume of two Available replicas that is published to the host."""
    uuid = replicated(api, **storage)
    published(api, uuid, HOST)
    all_available(api, uuid)
    return uuid


def rack_of(api: Api, uuid: str, replica: str) -> str:
    node = places(api, uuid)[replica]["backend"]["persistentID"]
    return str(Backend.objects.get(pk=node).rack)


def add(agent: ReleasedClient, uuid: str) -> Answer:
    return agent.call("POST", f"replica/{uuid}", ANYWHERE)


def added(api: Api, agent: ReleasedClient, uuid: str) -> str:
    """The new replica."""
    before = set(places(api, uuid))
    answer = add(agent, uuid)
    assert answer.status == "Success", answer
    [new] = set(places(api, uuid)) - before
    return new


def test_a_lost_replica_is_replaced_within_its_rack(api: Api, agent: ReleasedClient) -> None:
    uuid = attached(api)
    lost, kept = places(api, uuid)
    assert rack_of(api, uuid, lost) != rack_of(api, uuid, kept)
    assert add(agent, uuid).status == "SameRackNotAllowed"
    assert report(api, uuid, lost, "Missing").status == "Success"
    new = added(api, agent, uuid)
    assert rack_of(api, uuid, new) == rack_of(api, uuid, lost)
    assert audit() == []


def test_a_migration_may_stay_in_the_rack_of_the_outgoing_replica(
    api: Api, agent: ReleasedClient
) -> None:
    uuid = attached(api)
    outgoing, _ = places(api, uuid)
    ReleasedClient.of(api, "STORAGE").done(
        "POST", "migrate_volume", {"volId": uuid, "repId": outgoing}
    )
    new = added(api, agent, uuid)
    assert rack_of(api, uuid, new) == rack_of(api, uuid, outgoing)
    assert audit() == []


def test_the_constraints_of_the_volume_apply_to_an_added_replica(
    api: Api, agent: ReleasedClient
) -> None:
    uuid = attached(api, zones=["zone-a"], sameRackAllowed=True)
    refused = add(agent, uuid)
    assert refused.status == "TopologyConstraints"
    assert {rack_of(api, uuid, replica) for replica in places(api, uuid)} == {"rack-a"}


def test_a_volume_that_allows_one_rack_twice_may_use_it(api: Api, agent: ReleasedClient) -> None:
    uuid = attached(api, sameRackAllowed=True)
    added(api, agent, uuid)
    assert len(places(api, uuid)) == 3


def test_a_requested_list_replaces_the_list_of_the_volume(api: Api, agent: ReleasedClient) -> None:
    uuid = attached(api, zones=["zone-a"], sameRackAllowed=True)
    wish = ANYWHERE | {"zones": ["zone-b"]}
    agent.done("POST", f"replica/{uuid}", wish)
    assert sorted(rack_of(api, uuid, replica) for replica in places(api, uuid)) == [
        "rack-a",
        "rack-a",
        "rack-b",
    ]
