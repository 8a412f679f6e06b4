"""Shared steps of the tests of replicas."""

from typing import Any

from tests.api.volume_steps import created, volume
from tests.conftest import Answer, Api


def replicated(api: Api, alias: str = "v", number: int = 2, **storage: Any) -> str:
    return created(api, alias, storageClass={"numReplicas": number} | storage)


def places(api: Api, uuid: str) -> dict[str, dict[str, Any]]:
    """The locations of a volume by replica uuid."""
    return {place["uuid"]: place for place in volume(api, uuid)["location"]}


def report(api: Api, uuid: str, replica: str, state: str) -> Answer:
    return api.patch(f"/replica/{uuid}/{replica}/{state}")


def all_available(api: Api, uuid: str) -> list[str]:
    """Report all replicas Available, and return their uuids."""
    replicas = list(places(api, uuid))
    for replica in replicas:
        assert report(api, uuid, replica, "Available").status == "Success"
    return replicas
