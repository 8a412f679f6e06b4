"""OpenStack Cinder's driver: the requests that it sends, with a STORAGE token."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.released_clients import AGENT, DRIVER, ReleasedClient
from tests.conftest import Api
from volumes.audit import audit
from volumes.models import Export, Publication

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
FIRST, SECOND = (str(uuid.uuid5(uuid.NAMESPACE_DNS, name)) for name in ("compute-1", "compute-2"))
ZONE = "nova"


class Cinder:
    """A back end of Cinder: the operations of its driver, and their requests."""

    def __init__(self, api: Api, replicas: int) -> None:
        self.client = ReleasedClient.of(api, "STORAGE")
        self._replicas = replicas

    def create(self, zone: str = ZONE) -> str:
        uuid, fields = self._volume(zone)
        self.client.done("POST", "volumes", fields)
        return uuid

    def refused(self, zone: str) -> str:
        return str(self.client.call("POST", "volumes", self._volume(zone)[1]).description)

    def attach(self, volume: str, host: str) -> list[dict[str, Any]]:
        """Attach the volume. Returns the data that Nova gets: the replicas with target and
        portals.
        """
        self.client.probe(DRIVER, host)
        published = self.client.call("POST", "publish", {"hostId": host, "volId": volume})
        assert published.status in {"Success", "AlreadyPublished"}, published
        [shown] = self.client.get(f"volumes/{volume}")
        by_node = {p["backend"]["persistentID"]: p["uuid"] for p in shown["location"]}
        replicas = []
        for target in self.client.get(f"targets?hostId={host}&volId={volume}"):
            node = target["backend"]["persistentID"]
            [backend] = self.client.get(f"backends/{node}")
            portals = [(p["ip"], p["port"], p["transport"]) for p in backend["portals"]]
            leg = {"vol_uuid": by_node[node], "target_nqn": target["targetName"]}
            replicas.append(leg | {"portals": portals})
        return replicas

    def detach(self, volume: str, host: str | None) -> None:
        body = {"volId": volume} | ({"hostId": host} if host else {})
        assert self.client.call("POST", "unpublish", body).status in {
            "Success",
            "VolumeNotPublished",
        }

    def delete(self, volume: str) -> None:
        self.client.done("DELETE", f"volumes/{volume}")

    def free_gib(self) -> int:
        tenants = self.client.get("tenants")
        [tenant] = [t for t in tenants if t["tenantId"] == "0"]
        return int(tenant["capacity"] - tenant["consumedCapacity"])

    def _volume(self, zone: str) -> tuple[str, dict[str, Any]]:
        volume = str(uuid.uuid4())
        name = f"volume-{volume}"
        storage_class = {
            "numReplicas": self._replicas,
            "zones": [zone],
            "blockSize": 4096,
            "maxIOPSPerGB": 0,
            "desiredIOPSPerGB": 0,
            "maxBWPerGB": 0,
            "desiredBWPerGB": 0,
            "sameRackAllowed": False,
            "maxReplicaDownTime": 0,
            "allowSpan": True,
        }
        return volume, {
            "alias": name[:27] if self._replicas > 1 else name,
            "capacity": 1,
            "storageClass": storage_class,
            "provisioningType": "THICK",
            "reservedSpacePercentage": 0,
            "protocol": "NVMeoF",
            "uuid": volume,
        }


@pytest.fixture
def nodes(api: Api, pool: Pool) -> list[str]:
    """Nodes in Cinder's availability zone."""
    found = pool(4)
    for node in found:
        assert api.put(f"/backends/{node}", {"zone": ZONE}).status == "Success"
    return found


@pytest.fixture
def simple(api: Api, nodes: list[str]) -> Cinder:
    return Cinder(api, replicas=1)


@pytest.fixture
def replicated(api: Api, nodes: list[str]) -> Cinder:
    return Cinder(api, replicas=2)


def nothing_is_left(api: Api) -> None:
    assert api.get("/targets").body == []
    assert (Publication.objects.count(), Export.objects.count()) == (0, 0)
    assert audit() == []


def test_a_storage_token_is_enough(api: Api, simple: Cinder) -> None:
    """A STORAGE token may make every call of the driver."""
    client, free = simple.client, simple.free_gib()
    volume = simple.create()
    client.done("PATCH", f"volumes/{volume}", {"newCapacity": "2"})
    assert simple.free_gib() == free - 2
    [replica] = simple.attach(volume, FIRST)
    assert replica["vol_uuid"] == volume
    assert replica["portals"]
    simple.detach(volume, FIRST)
    snapshot, copy, clone = (str(uuid.uuid4()) for _ in range(3))
    taken = {"alias": f"snapshot-{snapshot}", "volumeID": volume, "snapshotID": snapshot}
    client.done("POST", "snapshots", taken | {"reservedSpacePercentage": 0})
    made = {"alias": f"volume-{copy}", "snapshotID": snapshot, "writable": False, "volumeID": copy}
    limits = {"maxIOPSPerGB": 0, "maxBWPerGB": 0, "protocol": "NVMeoF", "allowSpan": True}
    client.done("POST", "snapshot_volumes", made | limits | {"reservedSpacePercentage": 0})
    cloned = {"sourceVolumeId": volume, "alias": f"volume-{clone}", "volumeId": clone}
    client.done("POST", "clone_volume", cloned | {"capacity": 2})
    for made_volume in (clone, copy):
        simple.delete(made_volume)
    client.done("DELETE", f"snapshots/{snapshot}")
    simple.delete(volume)
    assert simple.free_gib() == free
    nothing_is_left(api)


def test_it_attaches_every_replica(replicated: Cinder) -> None:
    """This works even if the agent of the host sends probes, because the driver's probe comes
    last.
    """
    replicated.client.probe(AGENT, FIRST)
    volume = replicated.create()
    replicas = replicated.attach(volume, FIRST)
    assert len({replica["vol_uuid"] for replica in replicas}) == 2
    assert {replica["target_nqn"] for replica in replicas} == {f"nqn.2022-08.com.kioxia:{FIRST}"}
    assert replicated.attach(volume, FIRST) == replicas, "again: published already"


def test_an_availability_zone_that_does_not_exist_is_named(
    api: Api, simple: Cinder, nodes: list[str]
) -> None:
    assert api.put(f"/backends/{nodes[0]}", {"inUse": False}).status == "Success"
    assert simple.refused("nowhere") == (
        "0 of 1 replicas can be placed on 4 nodes: zone nowhere: 0 of 4 nodes; 1 node cordoned"
    )


def test_live_migration_ends_with_one_host(api: Api, replicated: Cinder) -> None:
    volume = replicated.create()
    replicated.attach(volume, FIRST)
    assert len(replicated.attach(volume, SECOND)) == 2
    assert len(replicated.client.get(f"targets?volId={volume}")) == 2
    replicated.detach(volume, FIRST)
    [target] = replicated.client.get(f"targets?volId={volume}")
    assert target["targetName"] == f"nqn.2022-08.com.kioxia:{SECOND}"
    assert api.get("/targets", hostId=FIRST).body == []
    replicated.detach(volume, None)
    replicated.delete(volume)
    nothing_is_left(api)


def test_a_failed_live_migration_ends_with_the_first_host(api: Api, replicated: Cinder) -> None:
    volume = replicated.create()
    before = replicated.attach(volume, FIRST)
    replicated.attach(volume, SECOND)
    replicated.detach(volume, SECOND)
    assert replicated.attach(volume, FIRST) == before
    replicated.detach(volume, SECOND)
    replicated.detach(volume, FIRST)
    replicated.delete(volume)
    nothing_is_left(api)


def test_retype_to_another_back_end_leaves_nothing_of_the_first(
    api: Api, simple: Cinder, replicated: Cinder
) -> None:
    """Cinder attaches both volumes to its host, copies, detaches both, and deletes the old one."""
    old = simple.create()
    new = replicated.create()
    simple.attach(old, FIRST)
    replicated.attach(new, FIRST)
    replicated.detach(new, FIRST)
    simple.detach(old, FIRST)
    simple.delete(old)
    assert [row["uuid"] for row in api.get("/volumes").body] == [new]
    nothing_is_left(api)
    assert len(replicated.attach(new, SECOND)) == 2


def test_a_volume_in_use_is_retyped_to_another_back_end(
    api: Api, simple: Cinder, replicated: Cinder
) -> None:
    """Nova attaches the new volume to the same host, and then detaches the old one."""
    old = simple.create()
    simple.attach(old, FIRST)
    new = replicated.create()
    replicas = replicated.attach(new, FIRST)
    simple.detach(old, FIRST)
    simple.delete(old)
    assert replicated.attach(new, FIRST) == replicas
    [target] = api.get("/targets").body
    assert (target["targetName"], target["numNamespaces"]) == (
        f"nqn.2022-08.com.kioxia:{FIRST}",
        1,
    )
    assert audit() == []
