"""``GET /targets`` in the form that its clients need: one entry for the agent of a host, one entry
for each node for Cinder's driver.
"""

from collections.abc import Callable

import pytest

from tests.api.released_clients import AGENT, DRIVER, HOST, ReleasedClient
from tests.api.volume_steps import created, published, volume
from tests.conftest import Api

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
NQN = f"nqn.2022-08.com.kioxia:{HOST}"


@pytest.fixture
def one(api: Api, pool: Pool) -> str:
    """Create a volume with two replicas that is published to the host. Another volume is published,
    too.
    """
    pool(3)
    ReleasedClient.of(api, "ADMIN").probe(AGENT)
    uuid = created(api, "v", storageClass={"numReplicas": 2})
    published(api, uuid, HOST)
    published(api, created(api, "other", storageClass={"numReplicas": 3}), HOST)
    return uuid


def nodes(api: Api, uuid: str) -> list[str]:
    return sorted(place["backend"]["persistentID"] for place in volume(api, uuid)["location"])


def test_a_hosts_agent_gets_one_entry(api: Api, one: str) -> None:
    for role in ("HOST", "ADMIN", "STORAGE"):
        client = ReleasedClient.of(api, role)
        [target] = client.get(f"targets?hostId={HOST}&volId={one}")
        assert (target["name"], target["targetName"]) == (NQN, NQN)
        assert target["numNamespaces"] == 2
        assert "backend" not in target
        assert client.get(f"targets?hostId={HOST}") == [target]
        assert client.get(f"targets?volId={one}") == [target]
        assert client.get("targets") == [target]


def test_the_driver_of_cinder_gets_an_entry_for_each_node(api: Api, one: str) -> None:
    driver = ReleasedClient.of(api, "STORAGE")
    driver.probe(DRIVER)
    paths = driver.get(f"targets?hostId={HOST}&volId={one}")
    assert sorted(path["backend"]["persistentID"] for path in paths) == nodes(api, one)
    assert {(path["name"], path["targetName"]) for path in paths} == {(NQN, NQN)}
    agent = ReleasedClient.of(api, "HOST")
    assert len(agent.get(f"targets?hostId={HOST}&volId={one}")) == 1, "by its role"
    agent.probe(AGENT)
    assert len(driver.get(f"targets?hostId={HOST}&volId={one}")) == 1, "by the last probe"


def test_a_host_has_no_target_for_a_volume_that_it_does_not_use(api: Api, one: str) -> None:
    client = ReleasedClient.of(api, "HOST")
    absent = created(api, "absent")
    assert client.get(f"targets?hostId={HOST}&volId={absent}") == []
    assert client.get(f"targets?volId={absent}") == []
    assert ReleasedClient.of(api, "STORAGE").get("targets?hostId=nobody") == []
