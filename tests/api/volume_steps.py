"""Shared steps of the tests of volumes."""

from typing import Any

from tests.conftest import HOST_ID, Answer, Api

HOST = HOST_ID
GIB = 2**30


def create(api: Api, alias: str, path: str = "/volumes", /, **fields: Any) -> Answer:
    """Create a volume of 10 GiB unless ``fields`` say otherwise."""
    return api.post(path, {"alias": alias, "capacity": 10} | fields)


def created(api: Api, alias: str, path: str = "/volumes", /, **fields: Any) -> str:
    answer = create(api, alias, path, **fields)
    assert (answer.http, answer.status) == (200, "Success"), answer
    return str(answer.body["uuid"])


def volume(api: Api, uuid: str) -> dict[str, Any]:
    rows = api.get(f"/volumes/{uuid}").body
    assert len(rows) == 1, rows
    return dict(rows[0])


def probe_host(api: Api, host: str = HOST, **fields: Any) -> str:
    answer = api.post(
        "/host_probe",
        {
            "hostId": host,
            "hostNqn": f"nqn.2014-08.org.nvmexpress:uuid:{host}",
            "name": f"host-{host[:4]}",
            "clientType": "Agent",
            "version": "1.4",
            "duration": 30,
        }
        | fields,
    )
    assert answer.status == "Success", answer
    return host


def published(api: Api, uuid: str, host: str = HOST) -> None:
    answer = api.post("/publish", {"volId": uuid, "hostId": host})
    assert answer.status == "Success", answer
