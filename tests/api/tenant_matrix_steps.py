"""Shared steps of the tests of access by tenants."""

from typing import Any

PROBE = {
    "hostNqn": "nqn.2020-01.x:host",
    "name": "host",
    "clientType": "Agent",
    "version": "1.4",
    "duration": 30,
}


UNSEEN = {
    "AlreadyExists",
    "HostNotFound",
    "TenantNotFound",
    "NotExists",
    "VolumeNotFound",
    "VolumeNoFound",
    "TaskNotFound",
    "NoTask",
}


def filled(text: Any, names: dict[str, str]) -> Any:
    if isinstance(text, str):
        return text.format_map(names) if "{" in text else text
    if isinstance(text, dict):
        return {key: filled(value, names) for key, value in text.items()}
    return text
