"""The main use of the API, with storage nodes that are ``node_agent`` processes over fake SPDK
targets. These are killed in between. A host reads what it wrote, and at the end nothing is left.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from inventory.services.node import clients as node_clients
from provisioner.certificates import Authority
from tasks import runner
from tests.api.replicas_steps import all_available, places, replicated, report
from tests.api.snapshot_steps import cloned, created_snapshot_volume, snapped
from tests.api.volume_steps import GIB, HOST, create, created, probe_host, published
from tests.conftest import Api
from tests.nodes.certificates import KeyPair
from tests.sagas.checks import WORK_SECONDS, await_end
from tests.spdk.client import Client
from tests.spdk.host import Host, NoAccess
from tests.spdk.kernel import Kernel
from tests.spdk.processes import NodeProcesses, restart
from tests.waiting import eventually
from volumes.audit import audit
from volumes.reconcilers.garbage_collector import collect
from volumes.services.replica.replace import replica_sync_submit

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

NQN = f"nqn.2022-08.com.kioxia:{HOST}"
HOST_NQN = f"nqn.2014-08.org.nvmexpress:uuid:{HOST}"
BLOCK = 4096


class Pool:
    """Three nodes in three racks, and a host, which stays connected to each node that it has
    reached.
    """

    def __init__(self, nodes: list[NodeProcesses], api: Api) -> None:
        self.api = api
        self.kernel = Kernel(HOST_NQN)
        self.nodes: dict[str, NodeProcesses] = {}
        for number, node in enumerate(nodes, 1):
            node.await_up()
            body = {"mgmtIPs": [node.address], "mgmtPort": node.port, "rack": f"r{number}"}
            answer = api.post("/backends", body)
            assert answer.status == "Success", answer
            self.nodes[answer.body["persistentID"]] = node

    def node(self, volume: str, replica: str | None = None) -> NodeProcesses:
        """Return the node of the replica, or of the only replica."""
        place = places(self.api, volume)[replica or volume]
        return self.nodes[place["backend"]["persistentID"]]

    @contextmanager
    def connected(self, volume: str, replica: str | None = None) -> Iterator[tuple[Host, int]]:
        """Connect the host to the node of the replica. Returns the host and the namespace."""
        node = self.node(volume, replica)
        found = node.client.read_target(NQN)
        assert found is not None
        names = {one.volume_uuid: one.nsid for one in found.namespaces}
        [portal] = found.listeners
        yield self.kernel.reach(portal.ip, portal.port, NQN), names[replica or volume]

    def write(self, offset: int, text: bytes, volume: str, replica: str | None = None) -> None:
        with self.connected(volume, replica) as (host, nsid):
            host.write(nsid, offset, text.ljust(BLOCK, b"."))

    def read(self, offset: int, volume: str, replica: str | None = None) -> bytes:
        with self.connected(volume, replica) as (host, nsid):
            return host.read(nsid, offset, BLOCK).rstrip(b".\0")

    def restart(self) -> None:
        """Kill the agents and targets of all nodes, and start them again."""
        restart(*self.nodes.values())


@pytest.fixture
def pool(api: Api, authority: Authority, settings: Settings, tmp_path: Path) -> Iterator[Pool]:
    pair = KeyPair(*authority.node("spdk-nodes", ["127.0.0.1"]))
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(
        update={"node_ca": authority.path, "node_certificate": authority.provisioner()}
    )
    node_clients.node_transport.cache_clear()
    transport = node_clients.node_transport()
    shape = {"zeroes": (True, False), "block_sizes": (BLOCK, BLOCK), "gib": 128}
    shape["client_ca"] = authority.path
    nodes = [
        NodeProcesses(number, tmp_path / str(number), pair, transport, **shape)
        for number in (1, 2, 3)
    ]
    pool = None
    try:
        pool = Pool(nodes, api)
        yield pool
    finally:
        if pool is not None:
            pool.kernel.close()
        node_clients.node_transport.cache_clear()
        for node in nodes:
            node.close()


def test_a_replicated_volume_keeps_its_data_when_expanded_and_moved(api: Api, pool: Pool) -> None:
    uuid = replicated(api, "vol")
    published(api, uuid, probe_host(api))
    outgoing, staying = all_available(api, uuid)
    for replica in (outgoing, staying):
        pool.write(5 * GIB, b"first", uuid, replica)
    restart(pool.node(uuid, outgoing))
    assert pool.read(5 * GIB, uuid, outgoing) == b"first"
    assert api.patch(f"/volumes/{uuid}", {"newCapacity": 20}).status == "Success"
    with pool.connected(uuid, staying) as (host, nsid):
        assert host.namespaces[nsid]["size"] == 20 * GIB
    pool.write(20 * GIB - BLOCK, b"last", uuid, staying)
    task = api.post("/migrate_volume", {"volId": uuid, "repId": outgoing}).body["taskId"]
    assert api.post(f"/replica/{uuid}", {"sameRackAllowed": False}).status == "Success"
    [new] = set(places(api, uuid)) - {outgoing, staying}
    for offset in (5 * GIB, 20 * GIB - BLOCK):
        pool.write(offset, pool.read(offset, uuid, staying), uuid, new)
    assert report(api, uuid, new, "Available").status == "Success"
    left = pool.node(uuid, outgoing)
    assert api.patch(f"/replica/{uuid}/{outgoing}").status == "Success"
    assert api.delete(f"/replica/{uuid}/{outgoing}").status == "Success"
    done = {"taskId": task, "hostId": HOST, "state": "FINISHED", "taskStatus": "Success"}
    assert api.put("/tasks", done | {"progress": 100}).status == "Success"
    pool.restart()
    assert [pool.read(20 * GIB - BLOCK, uuid, one) for one in (staying, new)] == [b"last"] * 2
    [portal] = left.client.read_node().portals
    with pytest.raises((NoAccess, OSError)):
        Host(portal.ip, portal.port, NQN, HOST_NQN)
    assert audit() == []
    assert api.post("/unpublish", {"volId": uuid, "hostId": HOST}).status == "Success"
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    nothing_is_left(pool)


def test_snapshots_and_clones_keep_their_data_and_a_new_volume_reads_zeros(
    api: Api, pool: Pool
) -> None:
    probe_host(api)
    uuid = created(api, "vol")
    published(api, uuid)
    pool.write(0, b"before", uuid)
    snapshot = snapped(api, uuid, "snap")
    pool.write(0, b"after", uuid)
    shown = created_snapshot_volume(api, snapshot, "shown", writable=False)
    clone = cloned(api, shown, "clone")
    for one in (shown, clone):
        published(api, one)
    pool.restart()
    assert [pool.read(0, one) for one in (uuid, shown, clone)] == [b"after", b"before", b"before"]
    pool.write(0, b"own", clone)
    assert pool.read(0, shown) == b"before"
    for one in (shown, uuid):
        assert api.post("/unpublish", {"volId": one, "hostId": HOST}).status == "Success"
    assert api.delete(f"/volumes/{shown}").status == "Success"
    assert api.delete(f"/snapshots/{snapshot}").status == "Success"
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    pool.restart()
    assert pool.read(0, clone) == b"own"
    assert api.patch(f"/volumes/{clone}", {"newCapacity": 11}).status == "Success"
    assert audit() == []
    assert api.post("/unpublish", {"volId": clone, "hostId": HOST}).status == "Success"
    assert api.delete(f"/volumes/{clone}").status == "Success"
    others = [created(api, f"other-{number}") for number in range(3)]
    for other in others:
        published(api, other)
        assert pool.read(0, other) == b""
        assert api.post("/unpublish", {"volId": other, "hostId": HOST}).status == "Success"
        assert api.delete(f"/volumes/{other}").status == "Success"
    nothing_is_left(pool)


@pytest.mark.parametrize(("gib", "pieces"), [(10, 1), (150, 2)])
def test_an_unpublished_volume_moves_to_another_node(
    api: Api, pool: Pool, gib: int, pieces: int
) -> None:
    """The nodes copy it from target to target. The source is killed in between."""
    probe_host(api)
    uuid = created(api, "vol", capacity=gib, storageClass={"blockSize": 4096, "allowSpan": True})
    published(api, uuid)
    written = {0: b"first", gib * GIB - 5 * GIB: b"middle", gib * GIB - BLOCK: b"last"}
    for offset, text in written.items():
        pool.write(offset, text, uuid)
    assert api.post("/unpublish", {"volId": uuid, "hostId": HOST}).status == "Success"
    left = pool.node(uuid)
    task = replica_sync_submit(volume_uuid=uuid, outgoing_uuid=uuid).pk
    runner.run(task)
    restart(left)
    ended = await_end(task)
    assert (ended.state, ended.task_status) == ("FINISHED", "Success"), ended.description
    assert pool.node(uuid) is not left
    [volume] = pool.node(uuid).client.list_volumes()
    assert len(volume.pieces) == pieces
    published(api, uuid)
    assert {offset: pool.read(offset, uuid) for offset in written} == written
    assert audit() == []
    assert api.post("/unpublish", {"volId": uuid, "hostId": HOST}).status == "Success"
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    nothing_is_left(pool)


def test_a_block_size_that_no_drive_has_is_refused(api: Api, pool: Pool) -> None:
    answer = create(api, "vol", storageClass={"blockSize": 512})
    assert answer.status == "NoMatchingBackend"
    assert "3 nodes with no SSD for blocks of 512 bytes" in answer.description


def test_a_spanned_volume_is_expanded_while_unpublished(api: Api, pool: Pool) -> None:
    probe_host(api)
    uuid = created(api, "vol", capacity=150, storageClass={"allowSpan": True})
    published(api, uuid)
    pool.write(149 * GIB, b"beyond one SSD", uuid)
    refused = api.patch(f"/volumes/{uuid}", {"newCapacity": 160})
    assert "only while it is unpublished: unpublish it first" in refused.description
    assert api.post("/unpublish", {"volId": uuid, "hostId": HOST}).status == "Success"
    assert api.patch(f"/volumes/{uuid}", {"newCapacity": 160}).status == "Success"
    published(api, uuid)
    restart(pool.node(uuid))
    assert pool.read(149 * GIB, uuid) == b"beyond one SSD"
    pool.write(160 * GIB - BLOCK, b"end", uuid)
    assert audit() == []
    assert api.post("/unpublish", {"volId": uuid, "hostId": HOST}).status == "Success"
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    nothing_is_left(pool)


def nothing_is_left(pool: Pool) -> None:
    """Check that nothing is left in the database or on a node, whatever its agent reports."""
    collect()
    assert audit() == []
    for node in pool.nodes.values():
        call = Client(node.socket)
        assert call("bdev_lvol_get_lvols") == []
        assert call("bdev_raid_get_bdevs", category="all") == []
        targets = partial(call, "nvmf_get_subsystems")
        eventually(partial(_are_gone, targets), seconds=WORK_SECONDS, what=targets)
        call.close()


def _are_gone(targets: Callable[[], list[dict[str, Any]]]) -> bool:
    """Whether all subsystems were removed, except the discovery subsystem, which always exists."""
    return [target["subtype"] for target in targets()] == ["Discovery"]
