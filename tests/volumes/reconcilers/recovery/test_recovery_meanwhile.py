"""Others change the database while it is being recovered."""

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from inventory.models import Pool, Recovery
from tests.volumes.reconcilers.node_check_steps import Pool as PoolOf
from volumes.reconcilers.recovery import database
from volumes.reconcilers.recovery.database import (
    NOT_OLDER,
    RecoveredMeanwhile,
    database_recover,
)

pytestmark = pytest.mark.django_db(transaction=True)


def first_do(
    monkeypatch: pytest.MonkeyPatch, module: object, name: str, action: Callable[[], object]
) -> None:
    """Do the action once, before the function is called for the first time."""
    real: Callable[..., Any] = getattr(module, name)

    def wrapped(*args: Any, **named: Any) -> object:
        monkeypatch.setattr(module, name, real)
        action()
        return real(*args, **named)

    monkeypatch.setattr(module, name, wrapped)


def doubt() -> None:
    Pool.objects.update(doubt="it is old", doubt_since=None)


def test_two_recoveries_at_once_are_one(pool: PoolOf, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one waits for the lock, and then finds that nothing is left to do."""
    pool(1)
    doubt()
    first_do(monkeypatch, database, "after_restored", database_recover)
    assert database_recover() == [NOT_OLDER]
    assert Recovery.objects.count() == 1


def test_nodes_that_were_read_before_another_recovery_are_not_used(
    pool: PoolOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool(1)
    doubt()
    first_do(monkeypatch, database, "after_restored", database_recover)
    with pytest.raises(RecoveredMeanwhile, match="run it again"):
        database_recover(since=timezone.now())
    assert Recovery.objects.count() == 1
    assert database_recover(since=timezone.now()) == ["writes are allowed again"]
