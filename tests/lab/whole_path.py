"""The whole path through our API. Two machines are nodes, and the second one is also the host.
What the host wrote stays, through a power failure, expansion, snapshots, clones and a migration.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from inventory.services.node import clients as node_clients
from provisioner.certificates import Authority
from tasks import runner
from tests.api.replicas_steps import all_available, places
from tests.api.snapshot_steps import cloned, created_snapshot_volume, snapped
from tests.api.volume_steps import GIB, HOST, created, probe_host, published
from tests.conftest import Api
from tests.lab.conftest import CALL_SECONDS, MakeMachine
from tests.lab.host import RAID, LabHost
from tests.lab.node import LabNode
from tests.sagas.checks import await_end
from volumes.audit import audit
from volumes.reconcilers.garbage_collector import collect
from volumes.services.replica.replace import replica_sync_submit

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(3600)]

NQN = f"nqn.2022-08.com.kioxia:{HOST}"
HOST_NQN = f"nqn.2014-08.org.nvmexpress:uuid:{HOST}"
NODES = (1, 2)
WRITTEN = 8


class Pool:
    """``host``: the kernel of the second node's machine."""

    def __init__(self, api: Api, nodes: list[LabNode]) -> None:
        self.api = api
        self.nodes: dict[str, LabNode] = {}
        for number, node in enumerate(nodes, 1):
            body = {"mgmtIPs": [node.address], "mgmtPort": node.port, "rack": f"r{number}"}
            answer = api.post("/backends", body)
            assert answer.status == "Success", answer
            self.nodes[answer.body["persistentID"]] = node
        self.first, self.second = nodes
        self.host = LabHost(self.second.machine, HOST_NQN)

    def node(self, volume: str, replica: str) -> LabNode:
        return self.nodes[places(self.api, volume)[replica]["backend"]["persistentID"]]

    def connect(self, volume: str, replica: str) -> str:
        """Let the host connect to the node of a replica; return the disk."""
        [portal] = self.node(volume, replica).client.read_node().portals
        self.host.connect(portal, NQN)
        return self.host.disk(replica)

    def unpublish(self, *volumes: str) -> None:
        self.host.disconnect()
        for uuid in volumes:
            self.done(self.api.post("/unpublish", {"volId": uuid, "hostId": HOST}))

    def delete(self, *paths: str) -> None:
        for path in paths:
            self.done(self.api.delete(path))

    def done(self, answer: Any) -> None:
        assert answer.status == "Success", answer


@pytest.fixture
def pool(
    api: Api, authority: Authority, settings: Settings, make_machine: MakeMachine
) -> Iterator[Pool]:
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(
        update={
            "node_ca": authority.path,
            "node_certificate": authority.provisioner(),
            "node_call_seconds": CALL_SECONDS,
            "probe_interval_seconds": 3600,  # nothing receives heartbeats here
        }
    )
    node_clients.node_transport.cache_clear()
    transport = node_clients.node_transport()
    machines = [make_machine([(40 * GIB, 4096)]) for _ in NODES]
    nodes = []
    for number, machine in zip(NODES, machines, strict=True):
        machine.await_up()
        nodes.append(LabNode(machine, number, authority, transport))
        nodes[-1].begin(new=True)
    for node in nodes:
        node.await_up()
    yield Pool(api, nodes)
    node_clients.node_transport.cache_clear()


def test_what_a_host_wrote_stays(api: Api, pool: Pool) -> None:
    probe_host(api)
    single_volume(api, pool)
    replicated_volume(api, pool)
    collect()
    assert audit() == []
    for node in pool.nodes.values():
        assert node.client.list_volumes() == ()
        assert node.client.list_targets() == ()
        assert node.machine.shell("lvs --noheadings -o lv_name").split() == ["pool"]


def replicated_volume(api: Api, pool: Pool) -> None:
    """A RAID 1 of both nodes goes on when the first loses power, and is whole again afterwards."""
    host = pool.host
    uuid = created(api, "vol", capacity=1, storageClass={"numReplicas": 2})
    published(api, uuid)
    replicas = all_available(api, uuid)
    disks = [pool.connect(uuid, replica) for replica in replicas]
    host.make_raid(disks)
    before = host.write(RAID, mib=WRITTEN)

    pool.first.machine.cut_power()
    meanwhile = host.write(RAID, mib=WRITTEN, at_mib=100)
    host.await_raid(1)
    pool.first.machine.await_up()
    pool.first.start()
    [lost] = [one for one in replicas if pool.node(uuid, one) is pool.first]
    host.add_again(host.disk(lost))
    host.await_raid(2)

    pool.done(api.patch(f"/volumes/{uuid}", {"newCapacity": 2}))
    for replica in replicas:
        host.await_size(host.disk(replica), 2 * GIB)
    host.expand_raid()
    end = 2 * GIB // 2**20 - 2 * WRITTEN
    after = host.write(RAID, mib=WRITTEN, at_mib=end)
    ranges = [(0, before), (100, meanwhile), (end, after)]
    assert [host.checksum(RAID, mib=WRITTEN, at_mib=at) for at, _ in ranges] == [
        written for _, written in ranges
    ]
    disks = [host.disk(replica) for replica in replicas]
    host.stop_raid()
    legs = [host.checksum(disk, mib=128, at_mib=1) for disk in disks]
    assert legs[0] == legs[1]
    assert audit() == []
    pool.unpublish(uuid)
    pool.delete(f"/volumes/{uuid}")


def single_volume(api: Api, pool: Pool) -> None:
    """A snapshot keeps what was there, a clone starts with it, and a migration moves all of it."""
    host = pool.host
    uuid = created(api, "one", capacity=1)
    published(api, uuid)
    before = host.write(pool.connect(uuid, uuid), mib=WRITTEN)
    snapshot = snapped(api, uuid, "snap")
    after = host.write(host.disk(uuid), mib=WRITTEN)
    shown = created_snapshot_volume(api, snapshot, "shown", writable=False)
    clone = cloned(api, shown, "clone")
    for one in (shown, clone):
        published(api, one)
    sums = [host.checksum(host.disk(one), mib=WRITTEN) for one in (uuid, shown, clone)]
    assert sums == [after, before, before]
    pool.unpublish(uuid, shown, clone)
    pool.delete(f"/volumes/{shown}", f"/snapshots/{snapshot}")

    left = pool.node(uuid, uuid)
    task = replica_sync_submit(volume_uuid=uuid, outgoing_uuid=uuid).pk
    runner.run(task)
    ended = await_end(task)
    assert (ended.state, ended.task_status) == ("FINISHED", "Success"), ended.description
    assert pool.node(uuid, uuid) is not left
    published(api, uuid)
    assert host.checksum(pool.connect(uuid, uuid), mib=WRITTEN) == after
    assert audit() == []
    pool.unpublish(uuid)
    pool.delete(f"/volumes/{uuid}", f"/volumes/{clone}")
