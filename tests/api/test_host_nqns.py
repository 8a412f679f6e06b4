"""Nodes admit only the NQN in the host's row."""

from collections.abc import Callable

import pytest

from inventory.models import Backend, Host
from inventory.nodes.engines.simulated import SimulatedFleet, SimulatedNode
from tests.api.host_nqns_steps import collect_all, pool_again
from tests.api.publications_steps import silent
from tests.api.volume_steps import HOST, created, probe_host, published, volume
from tests.conftest import Answer, Api
from volumes.audit import audit
from volumes.models import Publication, target_nqn
from volumes.reconcilers.garbage_collector import collect
from volumes.reconcilers.node_check.check import nodes_check

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
OTHER = "11111111-c09f-4f91-836d-5ed192ca6f64"
A, B = (f"nqn.2014-08.org.nvmexpress:uuid:{name}" for name in "ab")


def probe(api: Api, host: str, nqn: str) -> Answer:
    body = {"hostId": host, "hostNqn": nqn, "name": host[:4], "clientType": "Agent"}
    return api.post("/host_probe", body | {"version": "3.22", "duration": 30})


def admitted(node: SimulatedNode) -> dict[str, str]:
    """The host NQN of each target that has namespaces."""
    return {nqn: target.host_nqn for nqn, target in node.engine.targets.items()}


def test_another_host_gets_an_nqn_only_after_nodes_stopped_admitting_it(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    """Otherwise the second host could read the volume of the first one, and the first could not
    connect.
    """
    pool(1)
    uuid = created(api, "v")
    published(api, uuid, probe_host(api, hostNqn=A))
    assert probe(api, HOST, B).status == "Success"
    assert admitted(fleet.nodes[0]) == {target_nqn(HOST): A}, "nobody asked the node yet"
    refused = probe(api, OTHER, A)
    assert refused.status == "AlreadyExists"
    assert f"may still admit it to that host's volumes {uuid}" in refused.description
    collect()
    assert admitted(fleet.nodes[0]) == {target_nqn(HOST): B}
    assert probe(api, OTHER, A).status == "Success"
    assert volume(api, uuid)["inUse"] is True
    assert audit() == []


def test_no_node_admits_the_new_nqn_before_all_removed_the_former_one(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(2)
    uuid = created(api, "v", storageClass={"numReplicas": 2})
    published(api, uuid, probe_host(api, hostNqn=A))
    here, away = fleet.nodes[:2]
    away.faults.go_down()
    assert probe(api, HOST, B).status == "Success"
    collect_all()
    assert (admitted(here), admitted(away)) == ({}, {target_nqn(HOST): A})
    answer = api.post("/publish", {"volId": uuid, "hostId": HOST})
    assert answer.status == "PublishFailed"
    assert f"nodes {away.persistent_id} may still admit the former NQN" in answer.description
    assert probe(api, OTHER, A).status == "AlreadyExists"
    away.restart()
    away.faults.come_up()
    assert admitted(away) == {target_nqn(HOST): A}, "as it was; but A is nobody else's yet"
    collect_all()
    assert admitted(here) == admitted(away) == {target_nqn(HOST): B}
    assert probe(api, OTHER, A).status == "Success"
    assert audit() == []


def test_a_forced_removal_of_a_silent_node_lets_the_new_nqn_in(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    nodes = pool(2)
    uuid = created(api, "v", storageClass={"numReplicas": 2})
    published(api, uuid, probe_host(api, hostNqn=A))
    fleet.nodes[1].faults.go_down()
    probe(api, HOST, B)
    silent(Backend.objects.get(pk=nodes[1]))
    assert api.delete(f"/backends/{nodes[1]}", force="true").status == "Success"
    collect_all()
    assert admitted(fleet.nodes[0]) == {target_nqn(HOST): B}
    fleet.nodes[1].faults.come_up()
    pool_again(api, fleet.nodes[1])
    nodes_check()
    collect_all()
    assert admitted(fleet.nodes[1]) == {target_nqn(HOST): B}
    assert audit() == []


def test_publishing_again_lets_the_new_nqn_in_at_once(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(2)
    uuid = created(api, "v", storageClass={"numReplicas": 2})
    published(api, uuid, probe_host(api, hostNqn=A))
    probe(api, HOST, B)
    published(api, uuid)
    assert [admitted(node) for node in fleet.nodes[:2]] == [{target_nqn(HOST): B}] * 2
    assert audit() == []


def test_a_host_may_change_its_nqn_back_and_forth(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    uuid = created(api, "v")
    published(api, uuid, probe_host(api, hostNqn=A))
    for nqn in (B, A, B, A):
        assert probe(api, HOST, nqn).status == "Success"
    collect_all()
    collect_all()
    assert admitted(fleet.nodes[0]) == {target_nqn(HOST): A}
    assert audit() == []


def test_a_node_check_repairs_exports_with_another_nqn_than_the_row(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    uuid = created(api, "v")
    published(api, uuid, probe_host(api, hostNqn=A))
    Host.objects.update(nqn=B)
    [difference] = audit()
    assert A in difference.text
    assert B in difference.text
    nodes_check()
    collect_all()
    assert admitted(fleet.nodes[0]) == {target_nqn(HOST): B}
    assert audit() == []


def test_a_reinstalled_host_takes_over_its_nqn(api: Api, pool: Pool) -> None:
    pool(1)
    uuid = created(api, "v")
    published(api, uuid, probe_host(api, hostNqn=A))
    refused = probe(api, OTHER, A)
    assert (refused.status, "(Available)" in refused.description) == ("AlreadyExists", True)
    silent(Host.objects.get(pk=HOST))
    refused = probe(api, OTHER, A)
    assert refused.status == "AlreadyExists"
    for part in (uuid, "POST /unpublish", f"DELETE /hosts/{HOST}", OTHER):
        assert part in refused.description
    assert api.post("/unpublish", {"volId": uuid}).status == "Success"
    assert probe(api, OTHER, A).status == "Success"
    assert [host["uuid"] for host in api.get("/hosts").body] == [OTHER]
    published(api, uuid, OTHER)
    assert audit() == []


def test_a_known_host_takes_over_the_nqn_of_a_silent_host(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    uuid = created(api, "v")
    probe(api, HOST, A)
    published(api, uuid, probe_host(api, OTHER, hostNqn=B))
    silent(Host.objects.get(pk=HOST))
    assert probe(api, OTHER, A).status == "Success"
    collect()
    assert admitted(fleet.nodes[0]) == {target_nqn(OTHER): A}
    assert Publication.objects.get().host_id == OTHER


def test_a_refused_nqn_changes_nothing(api: Api, pool: Pool) -> None:
    probe(api, HOST, A)
    probe(api, OTHER, B)
    before = list(Host.objects.values())
    assert probe(api, OTHER, A).status == "AlreadyExists"
    assert list(Host.objects.values()) == before
