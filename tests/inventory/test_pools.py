"""Nodes that belong to a pool, and another pool that wants to add them."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from inventory.models import Backend, Pool
from inventory.nodes import wire
from inventory.nodes.client import NodeRefused
from inventory.nodes.engines.simulated import SimulatedFleet, SimulatedNode
from inventory.nodes.wire import RefusalCode
from inventory.services.node.clients import node_client
from inventory.services.node.register import settings_push
from inventory.services.pool.generations import generation_next
from inventory.services.pool.identity import pool_identity
from tests.api.volume_steps import GIB, created, probe_host, published
from tests.conftest import Answer, Api
from tests.nodes.specs import refused
from tests.volumes.reconcilers.node_check_steps import Pool as PoolOf
from tests.volumes.reconcilers.node_check_steps import check, grow_old, noted, stray_volume
from volumes.audit import audit
from volumes.models import Orphan, Replica, Volume
from volumes.selectors import replicas_with_nodes
from volumes.services import ownership
from volumes.services.node_calls import replica_spec

pytestmark = pytest.mark.django_db(transaction=True)
OTHER = "0b5a1a2e-1111-4222-8333-444455556666"


@contextmanager
def as_another_pool() -> Iterator[None]:
    """Give this provisioner another identity, as if it had another database."""
    mine = Pool.objects.get().uuid
    Pool.objects.update(uuid=OTHER, name="other")
    ownership._pool_uuid.cache_clear()
    try:
        yield
    finally:
        Pool.objects.update(uuid=mine, name="tests")
        ownership._pool_uuid.cache_clear()


def add(api: Api, node: SimulatedNode, **more: object) -> Answer:
    return api.post("/backends", {"mgmtIPs": [node.address], "mgmtPort": node.port} | more)


def forget_backends() -> None:
    """Delete all backends, as in another database that never knew them."""
    Replica.objects.all().delete()
    Volume.objects.all().delete()
    Backend.objects.all().delete()


def told(node: SimulatedNode) -> wire.PoolIdentity | None:
    return node.agent._membership.pool


def test_a_node_and_its_objects_carry_the_pool(
    api: Api, pool: PoolOf, fleet: SimulatedFleet
) -> None:
    pool(1)
    uuid = created(api, "v", storageClass={"maxIOPSPerGB": 7})
    assert told(fleet.nodes[0]) == pool_identity()
    owner = node_client(Backend.objects.get()).list_volumes()[0].owner
    assert owner is not None
    assert (owner.pool, owner.tenant, owner.volume) == (pool_identity().uuid, "0", uuid)
    assert (owner.alias, owner.complete, owner.more["max_iops_per_gb"]) == ("v", True, 7)


def lose_records(node: SimulatedNode) -> None:
    """Delete all records of the node, as if its state folder had been lost."""

    async def clear() -> None:
        node.agent._records._all("DELETE FROM setting WHERE node = ?")

    node.come_back_empty()
    node.run(clear())


def test_a_late_create_is_refused_by_a_node_that_lost_its_records(
    api: Api, pool: PoolOf, fleet: SimulatedFleet
) -> None:
    """It is refused before the node has joined the pool again, and afterwards."""
    [backend] = pool(1)
    uuid = created(api, "v")
    [replica] = replicas_with_nodes(Replica.objects.select_related("volume"))
    client = node_client(Backend.objects.get())
    late = partial(client.ensure_volume, replica.uuid, replica_spec(replica.volume, replica))
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    node = fleet.nodes[0]
    refused(RefusalCode.STALE, late)
    lose_records(node)
    refused(RefusalCode.CONFLICT, late, "belongs to no pool")
    check()
    assert told(node) == pool_identity()
    refused(RefusalCode.STALE, late, "has no records of older generations")
    assert node.volumes() == {}
    again = created(api, "v2")
    assert list(node.volumes()) == [again]
    check()
    settings_push(backend)  # as when a token is renewed
    assert created(api, "v3") in node.volumes()


def test_a_node_of_another_pool_is_added_only_with_take_over(
    api: Api, pool: PoolOf, fleet: SimulatedFleet
) -> None:
    pool(1)
    uuid = created(api, "v")
    node = fleet.nodes[0]
    node.write(uuid, "data")
    theirs = told(node)
    forget_backends()
    with as_another_pool():
        answer = add(api, node)
        assert answer.status == "NotAvailable"
        for part in (str(theirs), f"other ({OTHER})", "takeOver = true"):
            assert part in answer.description
        assert told(node) == theirs
        assert add(api, node, takeOver=True).status == "Success"
        assert told(node) == wire.PoolIdentity(uuid=OTHER, name="other")
        check()
        [orphan] = Orphan.objects.all()
        assert (orphan.uuid, orphan.kept, orphan.alias) == (uuid, True, "v")
        grow_old()
        check()
        assert node.read(uuid) == "data"
        created(api, "v2")


def test_a_released_node_with_volumes_of_another_pool_is_refused(
    api: Api, pool: PoolOf, fleet: SimulatedFleet
) -> None:
    [backend] = pool(1)
    stray_volume(backend, "theirs")
    mine = pool_identity()
    assert api.delete(f"/backends/{backend}").status == "Success"
    assert told(fleet.nodes[0]) is None
    with as_another_pool():
        answer = add(api, fleet.nodes[0])
        assert answer.status == "NotAvailable"
        assert mine.uuid in answer.description
    assert add(api, fleet.nodes[0]).status == "Success"


def test_a_removed_node_can_join_another_pool(
    api: Api, pool: PoolOf, fleet: SimulatedFleet
) -> None:
    [backend] = pool(1)
    assert api.delete(f"/backends/{backend}").status == "Success"
    with as_another_pool():
        assert add(api, fleet.nodes[0]).status == "Success"
        created(api, "v")


def test_a_node_that_another_pool_took_over_is_not_touched(
    api: Api, pool: PoolOf, fleet: SimulatedFleet
) -> None:
    pool(1)
    created(api, "v")
    backend = Backend.objects.get()
    theirs = wire.ProvisionerSettings(
        name="x",
        url="https://127.0.0.1:1",
        push_interval=60,
        in_use=True,
        pool=wire.PoolIdentity(uuid=OTHER, name="other"),
    )
    with pytest.raises(NodeRefused, match=f"CONFLICT.*other \\({OTHER}\\)"):
        node_client(backend).put_provisioner(theirs)
    taking = theirs.model_copy(update={"take_over": True})
    node_client(backend).put_provisioner(taking)
    check()
    assert noted() == set()
    assert any(f"belongs to other ({OTHER})" in d.text for d in audit())
    answer = api.post("/volumes", {"alias": "w", "capacity": 1})
    assert answer.status != "Success"
    assert OTHER in answer.description


def test_only_orphans_of_this_pool_are_removed(
    api: Api, pool: PoolOf, fleet: SimulatedFleet
) -> None:
    [backend] = pool(1)
    stray_volume(backend, "mine")
    stray_volume(backend, "theirs", pool=pool_identity().uuid)
    node = fleet.nodes[0]
    row = Backend.objects.get()
    [ssd, *_] = row.ssds.all()
    spec = wire.VolumeSpec(
        generation=generation_next(),
        provisioning_type=wire.ProvisioningType.THICK,
        block_size=4096,
        pieces=(wire.Piece(ssd_id=ssd.ssd_id, capacity=GIB, allocated=GIB),),
    )
    node_client(row).ensure_volume("unmarked", spec)
    check()
    kept = dict(Orphan.objects.values_list("uuid", "kept"))
    assert kept == {"mine": False, "theirs": False, "unmarked": True}
    grow_old()
    check()
    assert set(node.volumes()) == {"unmarked"}


def test_objects_without_an_owner_get_one(api: Api, pool: PoolOf, fleet: SimulatedFleet) -> None:
    """Nodes of an older version have such objects."""
    pool(1)
    uuid = created(api, "v")
    database = fleet.nodes[0].agent._records._database
    database.execute("UPDATE volume SET spec = json_remove(spec, '$.owner')")
    database.execute("DELETE FROM setting WHERE name = 'pool'")
    database.execute("UPDATE setting SET value = json_remove(value, '$.pool')")
    check()
    owner = node_client(Backend.objects.get()).list_volumes()[0].owner
    assert owner is not None
    assert (owner.volume, owner.pool) == (uuid, pool_identity().uuid)
    assert told(fleet.nodes[0]) == pool_identity()
    assert audit() == []


def test_a_write_with_another_owner_is_refused(
    api: Api, pool: PoolOf, fleet: SimulatedFleet
) -> None:
    """This is so even if generation, size and place are the same."""
    pool(1)
    created(api, "v")
    client = node_client(Backend.objects.get())
    [there] = client.list_volumes()
    assert there.owner is not None
    fields = {name: getattr(there, name) for name in wire.VolumeSpec.model_fields}
    owner = there.owner.model_copy(update={"tenant": "b"})
    spec = wire.VolumeSpec(**fields | {"owner": owner})
    with pytest.raises(NodeRefused, match=r"CONFLICT.*tenant '0'.*not.*tenant 'b'"):
        client.ensure_volume(there.uuid, spec)
    assert client.list_volumes() == (there,)
    fleet.reset()


def test_reset_inventory_changes_nothing_on_nodes(
    api: Api, pool: PoolOf, fleet: SimulatedFleet
) -> None:
    pool(1)
    uuid = created(api, "v")
    published(api, uuid, probe_host(api))
    before = node_client(Backend.objects.get()).list_targets()
    assert api.delete("/reset_inventory").status == "Success"
    assert set(fleet.nodes[0].volumes()) == {uuid}
    assert node_client(Backend.objects.get()).list_targets() == before
