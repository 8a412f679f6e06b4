"""Shared steps of the tests of restored databases."""

import pytest
from django.core.management import call_command

from tests.api.volume_steps import HOST
from tests.conftest import Api
from tests.volumes.reconcilers.node_check_steps import check, collect_overdue


def recovered(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """Run ``database_restored``, then all periodic work once. Returns the output of the command."""
    capsys.readouterr()
    call_command("database_restored", *options)
    said = capsys.readouterr().out
    check()
    collect_overdue()
    check()
    return said


def unpublished(api: Api, uuid: str, host: str = HOST) -> None:
    assert api.post("/unpublish", {"volId": uuid, "hostId": host}).status == "Success"
