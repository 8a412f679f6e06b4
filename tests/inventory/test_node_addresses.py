"""A node gets other addresses: an operator sets them, or its probes report them."""

from collections.abc import Callable
from threading import Thread

import pytest
from django.utils import timezone

from inventory.jobs import follow_addresses
from inventory.models import Backend, BackendAddress
from inventory.nodes.engines.simulated import SimulatedFleet
from tests.api.probe_steps import report
from tests.conftest import Api
from tests.waiting import eventually
from tests.worker import running_worker

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
GONE = "127.0.0.9"
"""Nobody listens there."""


def stored(node: str) -> tuple[list[str], int]:
    backend = Backend.objects.get(pk=node)
    return backend.mgmt_ips, backend.mgmt_port


def moved_away(node: str) -> None:
    """Store an address that the node no longer has."""
    BackendAddress.objects.filter(backend=node).update(address=GONE)


def unanswered(node: str) -> None:
    Backend.objects.filter(pk=node).update(unanswered_since=timezone.now())


def test_an_operator_can_set_a_new_address(api: Api, pool: Pool, fleet: SimulatedFleet) -> None:
    [node] = pool(1)
    moved_away(node)
    unanswered(node)
    there = {"mgmtIPs": ["localhost", fleet.nodes[0].address]}
    assert api.put(f"/backends/{node}", there).status == "Success"
    assert stored(node) == (["localhost", "127.0.0.1"], fleet.nodes[0].port)
    [backend] = api.get("/backends").body
    assert backend["mgmtIPs"] == ["localhost", "127.0.0.1"]
    assert "healthReason" not in backend


def test_an_address_where_the_node_does_not_answer_is_refused(api: Api, pool: Pool) -> None:
    [node] = pool(1)
    before = stored(node)
    answer = api.put(f"/backends/{node}", {"mgmtIPs": [GONE], "rack": "other"})
    assert answer.status == "NotAvailable"
    assert GONE in answer.description
    assert stored(node) == before
    assert Backend.objects.get().rack == "r1"


def test_an_address_of_another_node_is_refused(api: Api, pool: Pool, fleet: SimulatedFleet) -> None:
    [node] = pool(1)
    before = stored(node)
    there = {"mgmtIPs": ["127.0.0.1"], "mgmtPort": fleet.nodes[1].port}
    assert api.put(f"/backends/{node}", there).status == "NotAvailable"
    assert stored(node) == before


def test_an_address_of_another_backend_is_refused(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    node, _ = pool(2)
    there = {"mgmtIPs": ["127.0.0.1"], "mgmtPort": fleet.nodes[1].port}
    assert api.put(f"/backends/{node}", there).status == "AlreadyExists"


def test_a_silent_node_is_found_at_the_addresses_in_its_probe(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node] = pool(1)
    moved_away(node)
    unanswered(node)
    says = report(node, mgmtIPs=["not an address", "127.0.0.1"])
    says[" mgmtPort "] = fleet.nodes[0].port
    with running_worker():
        assert api.post("/probe", says).http == 200
        eventually(lambda: stored(node)[0] == ["127.0.0.1"], seconds=20, what="found")
    assert Backend.objects.get().unanswered_since is None


def test_the_addresses_in_a_probe_are_ignored_while_the_node_answers(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node] = pool(1)
    before = stored(node)
    follow_addresses(node, "localhost", fleet.nodes[0].port)
    assert stored(node) == before


@pytest.mark.parametrize("to", ["another node", "nobody"])
def test_a_reported_address_is_stored_only_if_the_node_answers_there(
    pool: Pool, fleet: SimulatedFleet, to: str
) -> None:
    node, _ = pool(2)
    unanswered(node)
    before = stored(node)
    address = GONE if to == "nobody" else "127.0.0.1"
    follow_addresses(node, address, fleet.nodes[1].port)
    assert stored(node) == before
    assert Backend.objects.get(pk=node).unanswered_since is not None


def test_an_address_set_by_an_operator_meanwhile_stays(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node] = pool(1)
    reported, port = "127.0.0.1", fleet.nodes[0].port
    moved_away(node)
    unanswered(node)
    before = fleet.nodes[0].faults.struck
    fleet.nodes[0].faults.slow(3000, method="GET", path="/v1/node", times=1)
    looking = Thread(target=follow_addresses, args=(node, reported, port))
    looking.start()
    eventually(lambda: fleet.nodes[0].faults.struck > before, seconds=30, what="it is asked")
    there = {"mgmtIPs": ["localhost", reported]}
    assert api.put(f"/backends/{node}", there).status == "Success"
    looking.join()
    assert stored(node) == (["localhost", reported], port)
