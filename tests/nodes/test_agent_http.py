"""The agent's answers to requests that the client never makes."""

import json
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from inventory.nodes.agent.requests import MAX_BODY_BYTES
from inventory.nodes.engines.simulated import SimulatedNode
from tests.nodes.certificates import TOKEN, TestCa
from tests.nodes.specs import HOST, TARGET, namespace, piece, volume


class Raw:
    """Sends any request with the correct token."""

    def __init__(self, node: SimulatedNode, ca: TestCa) -> None:
        context = ssl.create_default_context(cafile=ca.file)
        self._pool = urllib3.HTTPSConnectionPool(
            node.address, node.port, ssl_context=context, retries=False, timeout=5
        )

    def __call__(self, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = self._pool.urlopen(method, path, body=body, headers=headers)
        return answer.status, json.loads(answer.data) if answer.data else None

    def close(self) -> None:
        self._pool.close()


@pytest.fixture
def raw(node: SimulatedNode, ca: TestCa) -> Iterator[Raw]:
    raw = Raw(node, ca)
    yield raw
    raw.close()


VOLUME: dict[str, Any] = {
    "generation": 1,
    "provisioningType": "THICK",
    "blockSize": 4096,
    "pieces": [{"ssdId": "s", "capacity": 4096, "allocated": 4096}],
}
WRONG_FIELDS: list[dict[str, Any]] = [
    {"generation": "1"},
    {"generation": 0},
    {"generation": 2**63},
    {"generation": 1.5},
    {"generation": None},
    {"provisioningType": "thick"},
    {"blockSize": "4096"},
    {"pieces": []},
    {"pieces": {}},
    {"pieces": [{"ssdId": "s", "capacity": -1, "allocated": 0}]},
    {"pieces": [{"ssdId": "s", "capacity": 2**63, "allocated": 0}]},
    {"pieces": [{"ssdId": "s", "capacity": True, "allocated": 0}]},
    {"qos": {"maxIops": -1}},
]
WRONG_VOLUMES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff",
    b"[" * 100_000,
    *[json.dumps(VOLUME | wrong).encode() for wrong in WRONG_FIELDS],
]


@pytest.mark.parametrize("body", WRONG_VOLUMES, ids=lambda body: body[:60])
def test_malformed_bodies_are_refused(raw: Raw, body: bytes) -> None:
    status, refusal = raw("PUT", "/v1/volumes/v", body)
    assert (status, refusal["code"]) == (400, "INVALID")
    assert refusal["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v2/node", 404),
        ("GET", "/v1/node/", 404),
        ("GET", "/v1/volumes/a/b", 404),
        ("POST", "/v1/volumes", 405),
        ("PATCH", "/v1/volumes", 405),
        ("DELETE", "/v1/node", 405),
        ("POST", f"/v1/targets/{TARGET}/namespaces/v", 405),
        ("GET", "/v1/volumes/a%20b", 400),
        ("GET", "/v1/volumes/" + "a" * 65, 400),
        ("GET", "/v1/targets/" + "a" * 224, 400),
        ("DELETE", "/v1/volumes/v", 400),
        ("DELETE", "/v1/volumes/v?generation=x", 400),
        ("DELETE", "/v1/volumes/v/sync", 400),
        ("DELETE", "/v1/volumes/v/sync?generation=0", 400),
        ("POST", "/v1/volumes/v/sync", 405),
        ("GET", "/v1/volumes/a%20b/sync", 400),
        ("PUT", "/v1/volumes/v/sync", 400),
        ("DELETE", "/v1/volumes/v?generation=0", 400),
        ("DELETE", f"/v1/targets/{TARGET}/namespaces/v?generation=-1", 400),
    ],
)
def test_malformed_requests_are_refused(raw: Raw, method: str, path: str, status: int) -> None:
    got, refusal = raw(method, path)
    assert (got, refusal["code"]) == (status, "INVALID")


def test_a_too_large_body_is_refused(raw: Raw) -> None:
    status, refusal = raw("PUT", "/v1/volumes/v", b" " * (MAX_BODY_BYTES + 1))
    assert (status, refusal["code"]) == (413, "INVALID")
    assert raw("GET", "/v1/volumes")[0] == 200


def test_unknown_fields_are_ignored(raw: Raw, node: SimulatedNode) -> None:
    pieces = [{"ssdId": node.engine.ssds[0].ssd_id, "capacity": 4096, "allocated": 4096, "x": 1}]
    body = json.dumps(VOLUME | {"pieces": pieces, "new": {}}).encode()
    assert raw("PUT", "/v1/volumes/v", body) == (201, None)
    assert raw("PUT", "/v1/volumes/v", body) == (200, None)


def test_unknown_objects_are_not_found(raw: Raw) -> None:
    for path in ("/v1/volumes/v", "/v1/volumes/v/sync", f"/v1/targets/{TARGET}"):
        status, refusal = raw("GET", path)
        assert (status, refusal["code"]) == (404, "NOT_FOUND")


SYNC: dict[str, Any] = {
    "generation": 3,
    "volumeGeneration": 1,
    "nqn": TARGET,
    "nsid": 1,
    "hostNqn": HOST,
    "portals": [{"ip": "127.0.0.1", "port": 1, "transport": "TCP_IP"}],
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"generation": 0},
        {"volumeGeneration": None},
        {"nqn": ""},
        {"nsid": 0},
        {"hostNqn": 1},
        {"portals": []},
        {"portals": [{"ip": "127.0.0.1", "port": 0}]},
    ],
)
def test_malformed_copies_are_refused(raw: Raw, wrong: dict[str, Any]) -> None:
    status, refusal = raw("PUT", "/v1/volumes/v/sync", json.dumps(SYNC | wrong).encode())
    assert (status, refusal["code"]) == (400, "INVALID")


def test_a_copy_has_the_documented_wire_format(raw: Raw, node: SimulatedNode) -> None:
    ssd_id = node.engine.ssds[0].ssd_id
    raw("PUT", "/v1/volumes/v", volume(piece(ssd_id, 4096)).model_dump_json().encode())
    path, body = "/v1/volumes/v/sync", json.dumps(SYNC).encode()
    for _ in range(2):
        assert raw("PUT", path, body) == (201, None)
        assert raw("GET", path) == (
            200,
            SYNC
            | {
                "state": "FAILED",
                "bytesDone": 0,
                "bytesTotal": 4096,
                "message": "no node answers at 127.0.0.1 port 1",
            },
        )
    for _ in range(2):
        assert raw("DELETE", f"{path}?generation=3") == (204, None)
    status, refusal = raw("PUT", path, body)
    assert (status, refusal["code"]) == (412, "STALE")


def test_a_volume_has_the_documented_wire_format(raw: Raw, node: SimulatedNode) -> None:
    ssd_id = node.engine.ssds[0].ssd_id
    raw("PUT", "/v1/volumes/v", volume(piece(ssd_id, 4096)).model_dump_json().encode())
    path = f"/v1/targets/{TARGET}/namespaces/v"
    assert raw("PUT", path, namespace(3).model_dump_json().encode()) == (201, None)
    assert raw("GET", "/v1/volumes/v")[1] == {
        "generation": 1,
        "provisioningType": "THICK",
        "blockSize": 4096,
        "pieces": [{"ssdId": ssd_id, "capacity": 4096, "allocated": 4096}],
        "qos": {"maxIops": 0, "maxBw": 0},
        "source": None,
        "owner": None,
        "uuid": "v",
        "exported": True,
        "enforcedQos": {"maxIops": 0, "maxBw": 0},
    }
    assert raw("GET", "/v1/targets")[1]["targets"][0]["namespaces"] == [
        {"volumeUuid": "v", "nsid": 3, "generation": 1}
    ]
    assert raw("DELETE", f"{path}?generation=1") == (204, None)
