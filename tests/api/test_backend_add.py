"""``POST /backends``."""

import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.utils import timezone

from inventory.models import Backend, BackendAddress
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.nodes.wire import RefusalCode, Tag
from provisioner.access.principals import Role
from provisioner.access.tokens import token_verify
from tests.api.backends import SUCCESS, TIB, add, body, refused, settings_of, shown

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def node(fleet):
    return fleet.nodes[0]


def test_an_added_node_is_listed_with_its_facts(api, node):
    answer = api.post("/backends", body(node, rack="r1", zone="z1", region="e1", hostId="h1"))
    assert answer.http == 200
    assert answer.body == SUCCESS | {"persistentID": node.persistent_id}
    assert api.get("/backends").body == [
        {
            "persistentID": node.persistent_id,
            "mgmtIPs": ["127.0.0.1"],
            "mgmtPort": node.port,
            "rack": "r1",
            "zone": "z1",
            "region": "e1",
            "hostId": "h1",
            "inUse": True,
            "state": "Available",
            "totalCapacity": 4 * TIB,
            "availableCapacity": 4 * TIB,
            "numVolumes": 0,
            "probeInterval": 60,
            "totalBW": 4_525_654_016,
            "availableBW": 4_525_654_016,
            "totalIOPS": 348_600,
            "availableIOPS": 348_600,
            "version": "3.22.1",
            "targetDriverVersion": "3.22.1",
            "health": "Available",
            "numberOfSSDs": 4,
            "certified": True,
            "portals": [{"ip": "127.0.0.1", "port": 4420, "transport": "TCP_IP"}],
            "name": "node-1",
            "authenticationMode": "LOCAL",
        }
    ]


def test_fields_that_are_not_set_are_left_out(api, node):
    backend = shown(api, add(api, node))
    assert {"rack", "zone", "region", "hostId", "lastProbTime"}.isdisjoint(backend)


def test_add_writes_the_settings_onto_the_node(api, node, authority):
    add(api, node, rack="r1", zone="z1", region="e1", hostId="h1")
    settings = settings_of(node)
    assert settings.name == "provisioner"
    assert settings.url == "https://127.0.0.1:30100"
    assert settings.push_interval == 60
    assert settings.in_use
    assert settings.tags == (
        Tag(name="rack", value="r1"),
        Tag(name="zone", value="z1"),
        Tag(name="region", value="e1"),
        Tag(name="hostId", value="h1"),
    )
    assert settings.ca_certificate == authority.path.read_text()
    caller = token_verify(settings.token)
    assert caller.roles == {Role.NODE}
    assert caller.node_id == node.persistent_id
    life = Backend.objects.get().token_expires_at - timezone.now()
    assert 29.9 < life.total_seconds() / 86400 <= 30


def test_nodes_get_the_public_url(api, node, settings):
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(
        update={"public_url": "https://pool.example:8090", "probe_interval_seconds": 7}
    )
    persistent_id = add(api, node)
    told = settings_of(node)
    assert (told.url, told.push_interval) == ("https://pool.example:8090", 7)
    assert shown(api, persistent_id)["probeInterval"] == 7


def test_the_host_id_defaults_to_the_one_that_the_node_reports(api, fleet):
    first, second, third = fleet.nodes[:3]
    first.change(host_id="own")
    assert shown(api, add(api, first))["hostId"] == "own"
    second.change(host_id="own2")
    assert shown(api, add(api, second, hostId="given"))["hostId"] == "given"
    third.change(host_id="own")
    assert refused(
        api.post("/backends", body(third)),
        "BackendWithHostIdAlreadyExists",
        f"host 'own' already runs backend '{first.persistent_id}'",
    )


def test_fields_are_read_leniently(api, node):
    answer = api.post(
        "/backends/",
        {
            "MGMTIPS": node.address,
            " mgmtPort ": str(node.port),
            "Zone": "z",
            "rack": None,
            "region": "",
            "hostId": "",
            "more": 1,
        },
    )
    assert answer.status == "Success", answer.description
    backend = shown(api, node.persistent_id)
    assert backend["zone"] == "z"
    assert {"rack", "region", "hostId"}.isdisjoint(backend)


def test_addresses_are_tried_in_order(api, node):
    addresses = ["127.0.0.9", "LOCALHOST.", node.address]
    add(api, node, mgmtIPs=addresses)
    assert shown(api, node.persistent_id)["mgmtIPs"] == ["127.0.0.9", "localhost", "127.0.0.1"]


def test_an_address_of_the_pool_is_refused(api, fleet):
    first, second = fleet.nodes[:2]
    add(api, first)
    before = settings_of(first)
    for given in (body(first), body(first, mgmtIPs=["10.9.9.9", first.address])):
        assert refused(
            api.post("/backends", given),
            "AlreadyExists",
            f"127.0.0.1:{first.port} is the address of backend '{first.persistent_id}'",
        )
    assert settings_of(first) == before
    add(api, second)


def test_a_known_node_at_another_address_is_refused(api, node):
    add(api, node)
    BackendAddress.objects.update(address="10.9.9.9")
    before = settings_of(node)
    assert refused(
        api.post("/backends", body(node, rack="other")),
        "AlreadyExists",
        f"the storage node at 127.0.0.1 port {node.port} has persistentID "
        f"'{node.persistent_id}' and is already in the pool",
    )
    assert settings_of(node) == before


def test_a_host_that_runs_a_backend_is_refused(api, fleet):
    add(api, fleet.nodes[0], hostId="h1")
    assert refused(
        api.post("/backends", body(fleet.nodes[1], hostId="h1")),
        "BackendWithHostIdAlreadyExists",
        f"host 'h1' already runs backend '{fleet.nodes[0].persistent_id}'",
    )
    assert settings_of(fleet.nodes[1]) is None


def test_a_node_without_ssd_is_refused(api, node):
    node.change(ssds=())
    assert refused(
        api.post("/backends", body(node)),
        "NoGroups",
        f"storage node '{node.persistent_id}' has no SSD",
    )


@pytest.mark.parametrize("field", ["rack", "zone", "region"])
def test_a_location_of_more_than_255_characters_is_refused(api, node, field):
    add(api, node, **{field: "x" * 255})
    assert shown(api, node.persistent_id)[field] == "x" * 255
    refusal = f"{field} has 256 characters, at most 255 are allowed; it begins with '{'y' * 40}'"
    long = {field: "y" * 256}
    answer = api.post("/backends", body(node, mgmtIPs=["10.9.9.9"], **long))
    assert refused(answer, "InvalidLocationValue", refusal)
    answer = api.put(f"/backends/{node.persistent_id}", long)
    assert refused(answer, "InvalidLocationValue", refusal)
    assert shown(api, node.persistent_id)[field] == "x" * 255


def test_a_node_of_an_incompatible_version_is_refused(api, node):
    for version in ("2.9.1", "4.0", "30.1", "beta"):
        node.change(version=version)
        assert refused(
            api.post("/backends", body(node)),
            "NotAvailable",
            f"storage node '{node.persistent_id}' has version '{version}', which is "
            "incompatible; version 3 is required",
        )
    assert settings_of(node) is None


def not_available(api, node, *words):
    answer = api.post("/backends", body(node))
    assert (answer.http, answer.status) == (200, "NotAvailable")
    assert answer.description.startswith(f"no storage node answers at 127.0.0.1 port {node.port}: ")
    for word in words:
        assert word in answer.description
    assert api.get("/backends").body == []


def test_a_node_that_is_down_is_refused(api, node):
    node.faults.go_down()
    not_available(api, node, "refused")


def test_a_node_that_fails_is_refused(api, node):
    node.faults.fail(path="/v1/node")
    not_available(api, node, "HTTP status 500")


def test_a_node_that_refuses_is_refused_with_its_reason(api, node):
    node.faults.refuse(RefusalCode.UNAVAILABLE, path="/v1/node")
    not_available(api, node, "UNAVAILABLE", "a simulated fault")


def test_a_node_that_is_too_slow_is_refused(api, node):
    node.faults.slow(9_000, path="/v1/node")
    started = time.monotonic()
    not_available(api, node)
    assert time.monotonic() - started < 9


def test_all_calls_to_a_slow_node_together_have_a_limit(api, node, settings):
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"node_call_seconds": 3.0})
    node.faults.slow(1_200, times=10)
    started = time.monotonic()
    assert api.post("/backends", body(node)).status == "NotAvailable"
    assert 3 <= time.monotonic() - started < 10


def test_a_node_that_does_not_accept_the_settings_is_refused(api, node):
    node.faults.refuse(RefusalCode.UNAVAILABLE, method="PUT", path="/v1/node/provisioner")
    assert refused(
        api.post("/backends", body(node)),
        "NotAvailable",
        f"storage node '{node.persistent_id}' does not accept the provisioner's settings: "
        "UNAVAILABLE: a simulated fault",
    )
    assert api.get("/backends").body == []
    add(api, node)


NAMELESS = {
    "name": "n",
    "version": "3.1",
    "targetDriverVersion": "3.1",
    "bootId": "b",
    "totalBw": 1,
    "totalIops": 1,
    "portals": [],
    "ssds": [],
}


class Anonymous(BaseHTTPRequestHandler):
    """A server that answers like a node without a persistentID."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(NAMELESS).encode())

    def log_message(self, *args):
        pass


TOKENS = ("a-token-that-the-first-node-demands", "a-token-that-the-other-node-demands")


@pytest.fixture
def token_fleets(fleet, authority, tmp_path):
    """Two nodes without mutual TLS; each requires its own token."""
    certificate, key = authority.node("nodes", ["127.0.0.1"])
    with (
        SimulatedFleet(1, certificate=certificate, key=key, token=TOKENS[0]) as first,
        SimulatedFleet(
            1, certificate=certificate, key=key, token=TOKENS[1], id_prefix="02:00:01"
        ) as second,
    ):
        yield first.nodes[0], second.nodes[0]


def test_each_node_gets_only_its_own_token(api, token_fleets):
    """If a malicious node receives a token, the token is useless at other nodes."""
    places = [{"mgmtIPs": [node.address], "mgmtPort": node.port} for node in token_fleets]
    assert api.post("/backends", places[0]).status == "NotAvailable"
    for place, token in zip(places, TOKENS, strict=True):
        assert api.post("/backends", place | {"nodeToken": token}).status == "Success"
    volumes = [api.post("/volumes", {"alias": f"v{n}", "capacity": 1}) for n in range(4)]
    assert {answer.status for answer in volumes} == {"Success"}
    assert all(len(node.volumes()) == 2 for node in token_fleets)
    shown = json.dumps(api.get("/backends").body)
    stored = json.dumps(list(Backend.objects.values("encrypted_token", "token_digest")))
    assert not any(token in shown + stored for token in TOKENS)


def test_two_nodes_cannot_have_the_same_token(api, token_fleets):
    first, second = ({"mgmtIPs": [n.address], "mgmtPort": n.port} for n in token_fleets)
    added = api.post("/backends", first | {"nodeToken": TOKENS[0]}).body["persistentID"]
    for token in (TOKENS[0], TOKENS[1]):
        answer = api.post("/backends", second | {"nodeToken": token})
    assert answer.status == "Success"
    again = api.post("/backends", {"mgmtIPs": ["127.0.0.9"], "nodeToken": TOKENS[0]})
    assert again.status == "AlreadyExists"
    assert f"backend {added!r} already has this nodeToken" in again.description
    answer = api.put(f"/backends/{added}", {"nodeToken": TOKENS[1]})
    assert answer.status == "AlreadyExists"
    assert api.put(f"/backends/{added}", {"nodeToken": None}).status == "Success"
    assert Backend.objects.get(pk=added).encrypted_token == ""


def test_a_token_that_is_short_or_fits_no_header_is_refused(api):
    for token in ("short", "x" * 513, "with a space" * 4, "ä" * 40):
        place = {"mgmtIPs": ["127.0.0.1"], "nodeToken": token}
        answer = api.post("/backends", place)
        assert (answer.http, answer.status) == (400, "InvalidInput")


def test_a_node_without_persistent_id_is_refused(api, fleet, authority):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Anonymous)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.node("anonymous", ["127.0.0.1"]))
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        port = server.server_address[1]
        answer = api.post("/backends", {"mgmtIPs": ["127.0.0.1"], "mgmtPort": port})
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert refused(
        answer,
        "NotAvailable",
        f"no storage node answers at 127.0.0.1 port {port}: unreadable Node: 1 errors: "
        "persistentId",
    )


@pytest.mark.parametrize(
    ("fields", "description"),
    [
        ({}, "mgmtIPs = None: This field is required."),
        ({"mgmtIPs": None}, "mgmtIPs = None: This field is required."),
        ({"mgmtIPs": [None]}, "mgmtIPs = [None]: This field is required."),
        ({"mgmtIPs": []}, "mgmtIPs = []: Ensure this field has at least 1 elements."),
        ({"mgmtIPs": ""}, "mgmtIPs.0 = ''"),
        ({"mgmtIPs": ["1.2.3.999"]}, "must be an IP address or a DNS name"),
        ({"mgmtIPs": ["a_b.example", "-x.example"]}, "mgmtIPs.1 = '-x.example': must be an IP"),
        ({"mgmtIPs": ["https://a"]}, "must be an IP address or a DNS name"),
        ({"mgmtIPs": ["a" * 64]}, "must be an IP address or a DNS name"),
        ({"mgmtIPs": 7}, "mgmtIPs"),
        ({"mgmtIPs": ["10.0.0.1", "10.0.0.1"]}, "contains an address twice"),
        ({"mgmtIPs": ["FE80::1", "fe80:0::1"]}, "contains an address twice"),
        ({"mgmtIPs": ["Node.example", "node.example."]}, "contains an address twice"),
        ({"mgmtIPs": ["10.0.0.1"], "mgmtPort": 0}, "mgmtPort = 0"),
        ({"mgmtIPs": ["10.0.0.1"], "mgmtPort": 65536}, "mgmtPort = 65536"),
        ({"mgmtIPs": ["10.0.0.1"], "mgmtPort": "https"}, "mgmtPort = 'https'"),
        ({"mgmtIPs": ["10.0.0.1"], "rack": ["r"]}, "rack = ['r']"),
        ({"mgmtIPs": ["10.0.0.1"], "hostId": "a b"}, "hostId = 'a b'"),
        ({"mgmtIPs": ["10.0.0.1"], "hostId": "a" * 65}, "hostId = 'aaa"),
    ],
)
def test_a_wrong_field_is_refused_and_named(api, fields, description):
    answer = api.post("/backends", fields)
    assert (answer.http, answer.status) == (400, "InvalidInput")
    assert description in answer.description
    assert api.get("/backends").body == []
