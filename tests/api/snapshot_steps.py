"""Shared steps of the tests of snapshots and clones."""

from typing import Any

from tests.conftest import Answer, Api


def snap(api: Api, volume: str, alias: str, path: str = "/snapshots", /, **fields: Any) -> Answer:
    return api.post(path, {"volumeID": volume, "alias": alias} | fields)


def snapped(api: Api, volume: str, alias: str, path: str = "/snapshots", /, **fields: Any) -> str:
    return succeeded(snap(api, volume, alias, path, **fields))


def create_snapshot_volume(
    api: Api, snapshot: str, alias: str, path: str = "/snapshot_volumes", /, **fields: Any
) -> Answer:
    """Create the snapshot volume of a snapshot."""
    return api.post(path, {"snapshotID": snapshot, "alias": alias} | fields)


def created_snapshot_volume(
    api: Api, snapshot: str, alias: str, path: str = "/snapshot_volumes", /, **fields: Any
) -> str:
    return succeeded(create_snapshot_volume(api, snapshot, alias, path, **fields))


def clone(
    api: Api, source: str, alias: str, path: str = "/clone_volume", /, **fields: Any
) -> Answer:
    return api.post(path, {"sourceVolumeId": source, "alias": alias} | fields)


def cloned(api: Api, source: str, alias: str, path: str = "/clone_volume", /, **fields: Any) -> str:
    return succeeded(clone(api, source, alias, path, **fields))


def succeeded(answer: Answer) -> str:
    assert (answer.http, answer.status) == (200, "Success"), answer
    return str(answer.body["persistentId"])


def snapshot(api: Api, uuid: str) -> dict[str, Any]:
    rows = api.get(f"/snapshots/{uuid}").body
    assert len(rows) == 1, rows
    return dict(rows[0])


def consumed(api: Api, tenant: str = "0") -> int:
    """Return the GiB that are used of the tenant's budget."""
    return int({t["tenantId"]: t["consumedCapacity"] for t in api.get("/tenants").body}[tenant])


def tenant(api: Api, name: str, capacity: int = 0) -> str:
    budget = {"name": name, "capacity": capacity, "totalIOPS": 0, "totalBW": 0, "tenantId": name}
    assert api.post("/tenants", budget).status == "Success"
    return name
