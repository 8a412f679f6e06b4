"""Shared steps of the tests of migrations."""

from typing import Any

from tests.conftest import Answer, Api


def migrate(api: Api, uuid: str, replica: str, **fields: Any) -> Answer:
    return api.post("/migrate_volume", {"volId": uuid, "repId": replica} | fields)
