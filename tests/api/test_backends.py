"""``/backends``: read and change; ``/info``."""

from itertools import pairwise
from typing import Any

import pytest
from django.utils import timezone

from inventory.models import Backend, BackendAddress, Ssd
from inventory.nodes.portal_transports import RDMA, TCP
from inventory.nodes.wire import Portal, Tag
from provisioner.access.principals import Role
from provisioner.access.tokens import token_verify
from tests.api.backends import SUCCESS, TIB, add, body, refused, settings_of, shown

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def node(fleet):
    return fleet.nodes[0]


# reading


def test_backends_are_listed_by_id_and_one_backend_is_a_list_too(api, pool):
    ids = pool(3)
    assert [backend["persistentID"] for backend in api.get("/backends").body] == sorted(ids)
    assert [b["persistentID"] for b in api.get(f"/backends/{ids[1]}").body] == [ids[1]]
    assert api.get("/backends/unknown").body == []


def test_a_field_without_a_value_is_omitted(api, pool):
    [persistent_id] = pool(1)
    fields = Backend._meta.concrete_fields
    Backend.objects.update(**{field.attname: None for field in fields if field.null})
    backend = shown(api, persistent_id)
    assert None not in backend.values()
    assert not {"rack", "zone", "region", "hostId", "lastProbTime"} & set(backend)


def test_each_list_shows_the_nodes_as_they_are_now(api, pool):
    """The JSON of a node is kept, but not longer than it is true."""
    [changing, other] = pool(2)
    node = Backend.objects.filter(pk=changing)
    changes: list[tuple[Any, dict[str, Any]]] = [
        (node, {"rack": "r9"}),
        (node, {"in_use": False}),
        (node, {"used_iops": 5}),
        (node, {"last_probe_at": timezone.now()}),
        (node.get().addresses, {"address": "192.0.2.9"}),
        (node.get().portals, {"port": 4421}),
        (node.get().ssds, {"used_bytes": 1}),
    ]
    lists = [api.get("/backends").body, api.get("/backends").body]
    for rows, columns in changes:
        rows.update(**columns)
        lists.append(api.get("/backends").body)
    first, *later = ({node["persistentID"]: node for node in body} for body in lists)
    assert first == later[0]
    assert all(one[changing] != next_[changing] for one, next_ in pairwise(later))
    assert all(body[other] == first[other] for body in later)


def test_a_backend_that_is_silent_is_unavailable(api, pool):
    [persistent_id] = pool(1)
    Backend.objects.update(available_until=timezone.now())
    assert shown(api, persistent_id)["state"] == "Unavailable"


def test_claimed_capacity_is_not_available(api, pool):
    [persistent_id] = pool(1)
    Backend.objects.update(used_iops=600, used_bw=16)
    Ssd.objects.filter(backend=persistent_id, name="SSD 1").update(used_bytes=5)
    Ssd.objects.filter(backend=persistent_id, name="SSD 2").update(present=False)
    backend = shown(api, persistent_id)
    assert (backend["totalIOPS"], backend["availableIOPS"]) == (348_600, 348_000)
    assert (backend["totalBW"], backend["availableBW"]) == (4_525_654_016, 4_525_654_000)
    assert (backend["totalCapacity"], backend["availableCapacity"]) == (3 * TIB, 3 * TIB - 5)
    assert backend["numberOfSSDs"] == 3


def test_info_shows_free_space_and_health_without_credentials(api, pool):
    ids = pool(3)
    Backend.objects.filter(pk=ids[0]).update(available_until=timezone.now())
    Ssd.objects.filter(backend=ids[1], name="SSD 1").update(used_bytes=7)
    expected = {
        "totalFreeSpace": 8 * TIB - 7,
        "version": "1.1",
        "authenticationMode": "JWT",
        "health": "Degraded",
        "healthReason": "1 node Unavailable",
    }
    assert api.get("/info").body == expected
    for authorization in ("", "Bearer Unknown", "Basic ?"):
        api.authorization = authorization
        assert api.get("/info").body == expected


def test_info_of_an_empty_pool(api):
    assert api.get("/info").body["totalFreeSpace"] == 0


def test_roles_without_the_right_are_refused(api, pool, fleet):
    [persistent_id] = pool(1)
    for role in (Role.MONITOR, Role.HOST):
        caller = api.as_role(role)
        assert caller.get("/backends").http == 200
        assert caller.get(f"/backends/{persistent_id}").http == 200
        assert caller.put(f"/backends/{persistent_id}", {"rack": "x"}).http == 403
        assert caller.post("/backends", body(fleet.nodes[1])).http == 403
    assert api.as_role(Role.NODE, node=persistent_id).get("/backends").http == 403


# changing


def test_an_update_changes_the_given_fields_and_the_node_gets_them(api, node):
    add(api, node, rack="r1", zone="z1", hostId="h1")
    before = settings_of(node)
    answer = api.put(f"/backends/{node.persistent_id}", {"rack": "r2", "inUse": False})
    assert (answer.http, answer.body) == (200, SUCCESS)
    backend = shown(api, node.persistent_id)
    assert (backend["rack"], backend["zone"], backend["hostId"]) == ("r2", "z1", "h1")
    assert backend["inUse"] is False

    told = settings_of(node)
    assert not told.in_use
    assert told.tags == (
        Tag(name="rack", value="r2"),
        Tag(name="zone", value="z1"),
        Tag(name="hostId", value="h1"),
    )
    assert token_verify(told.token).node_id == node.persistent_id
    assert told.ca_certificate == before.ca_certificate


@pytest.mark.parametrize("empty", [None, ""])
def test_an_update_with_null_or_an_empty_text_clears_a_field(api, node, empty):
    add(api, node, rack="r1", zone="z1", region="e1", hostId="h1")
    cleared = {"rack": empty, "Zone": empty, "region": empty, "hostId": empty}
    assert api.put(f"/backends/{node.persistent_id}", cleared).body == SUCCESS
    assert {"rack", "zone", "region", "hostId"}.isdisjoint(shown(api, node.persistent_id))
    assert settings_of(node).tags == ()


@pytest.mark.parametrize("given", [{}, {"inUse": None, "mgmtPort": None}])
def test_an_update_without_values_changes_nothing(api, node, given):
    add(api, node, rack="r1")
    before = settings_of(node)
    assert api.put(f"/backends/{node.persistent_id}", given).body == SUCCESS
    assert shown(api, node.persistent_id)["rack"] == "r1"
    assert settings_of(node) == before


def test_a_node_that_is_down_can_be_updated(api, node):
    add(api, node)
    node.faults.go_down()
    assert api.put(f"/backends/{node.persistent_id}", {"rack": "r2"}).body == SUCCESS
    assert shown(api, node.persistent_id)["rack"] == "r2"


@pytest.mark.parametrize("given", [{}, {"rack": "r"}, {"mgmtPort": 1}])
def test_an_update_of_an_unknown_backend_is_refused(api, given):
    assert refused(
        api.put("/backends/unknown", given),
        "NotExists",
        "there is no backend with persistentID 'unknown'",
    )


def test_an_update_to_a_host_that_has_a_backend_is_refused(api, fleet):
    first, second = fleet.nodes[:2]
    add(api, first, hostId="h1")
    add(api, second, hostId="h2", rack="r")
    answer = api.put(f"/backends/{second.persistent_id}", {"hostId": "h1", "rack": "x"})
    assert refused(
        answer,
        "BackendWithHostIdAlreadyExists",
        f"host 'h1' already runs backend '{first.persistent_id}'",
    )
    backend = shown(api, second.persistent_id)
    assert (backend["hostId"], backend["rack"]) == ("h2", "r")
    assert api.put(f"/backends/{second.persistent_id}", {"hostId": "h2"}).body == SUCCESS


def test_a_new_port_is_stored_only_if_the_node_answers_there(api, fleet):
    """The row has a wrong port; the node listens on the given one."""
    node, other = fleet.nodes[:2]
    add(api, node)
    Backend.objects.update(mgmt_port=1)
    BackendAddress.objects.update(port=1)
    path = f"/backends/{node.persistent_id}"

    assert refused(
        api.put(path, {"mgmtPort": other.port}),
        "NotAvailable",
        f"the storage node at 127.0.0.1 port {other.port} is '{other.persistent_id}', not "
        f"'{node.persistent_id}'",
    )
    answer = api.put(path, {"mgmtPort": 2, "rack": "x"})
    assert answer.status == "NotAvailable"
    assert answer.description.startswith("no storage node answers at 127.0.0.1 port 2: ")
    assert "rack" not in shown(api, node.persistent_id)

    assert api.put(path, {" mgmtPort ": str(node.port), "rack": "x"}).body == SUCCESS
    backend = shown(api, node.persistent_id)
    assert (backend["mgmtPort"], backend["rack"]) == (node.port, "x")
    assert BackendAddress.objects.get().port == node.port
    assert settings_of(node).tags == (Tag(name="rack", value="x"),)


def test_an_update_to_a_port_of_another_backend_is_refused(api, pool, fleet):
    first, second = pool(2)
    answer = api.put(f"/backends/{first}", {"mgmtPort": fleet.nodes[1].port})
    assert refused(
        answer,
        "AlreadyExists",
        f"127.0.0.1:{fleet.nodes[1].port} is the address of backend '{second}'",
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [("mgmtPort", 0), ("mgmtPort", "x"), ("inUse", "perhaps"), ("hostId", "a b"), ("rack", [1])],
)
def test_an_update_with_a_wrong_field_is_refused(api, pool, field, value):
    [persistent_id] = pool(1)
    answer = api.put(f"/backends/{persistent_id}", {field: value})
    assert (answer.http, answer.status) == (400, "InvalidInput")
    assert answer.description.startswith(f"{field} = {value!r}: ")


def test_ipv6_portal_is_shown(api, node):
    node.change(portals=(Portal(ip="fe80::1", port=4420), Portal(ip="10.0.0.1", port=4421)))
    assert shown(api, add(api, node))["portals"] == [
        {"ip": "fe80::1", "port": 4420, "transport": "TCP_IP"},
        {"ip": "10.0.0.1", "port": 4421, "transport": "TCP_IP"},
    ]


def test_a_portal_over_rdma_has_the_name_that_all_versions_of_os_brick_know(api, node):
    rdma = Portal(ip="10.0.0.1", port=4420, transport=RDMA)
    node.change(portals=(rdma, rdma.model_copy(update={"transport": TCP})))
    portals = shown(api, add(api, node))["portals"]
    assert sorted(portal["transport"] for portal in portals) == ["RoCEv2", "TCP_IP"]


def test_a_node_with_a_drive_that_is_not_certified_is_not_certified(api, node):
    ssds = [ssd.model_copy(update={"certified": n > 0}) for n, ssd in enumerate(_ssds(node))]
    node.change(ssds=tuple(ssds))
    assert shown(api, add(api, node))["certified"] is False


def _ssds(node):
    return node.engine._facts.ssds
