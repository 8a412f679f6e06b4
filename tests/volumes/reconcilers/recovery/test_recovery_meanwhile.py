"""Others change the database while it is being recovered, or while an orphan is being adopted."""

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from events.models import Event
from inventory.models import Pool, Recovery
from tests.api.volume_steps import created
from tests.conftest import Api
from tests.volumes.reconcilers.node_check_steps import Pool as PoolOf
from tests.volumes.reconcilers.node_check_steps import check, stray_volume
from volumes.models import Orphan
from volumes.reconcilers.recovery import adoption, database
from volumes.reconcilers.recovery.adoption import orphan_adopt
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


def orphans_found() -> list[str]:
    check()
    events = Event.objects.filter(kind="OrphanFound").order_by("pk")
    return [event.text for event in events]


def test_a_volume_that_is_deleted_during_a_recovery_is_no_orphan(
    api: Api, pool: PoolOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool(1)
    uuid = created(api, "v")
    doubt()
    first_do(monkeypatch, database, "replicas_readopt", lambda: api.delete(f"/volumes/{uuid}"))
    assert database_recover() == ["writes are allowed again"]
    assert api.get("/volumes").body == []
    assert (Orphan.objects.count(), orphans_found()) == (0, [])


def test_a_volume_that_is_deleted_during_an_adoption_is_no_orphan(
    api: Api, pool: PoolOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    [node] = pool(1)
    uuid = created(api, "v")
    stray_volume(node, "found")
    check()
    first_do(monkeypatch, adoption, "replicas_readopt", lambda: api.delete(f"/volumes/{uuid}"))
    orphan_adopt(Orphan.objects.get().pk)
    assert [v["alias"] for v in api.get("/volumes").body] == ["alias of found"]
    [text] = orphans_found()
    assert (Orphan.objects.count(), "holds volume found" in text) == (0, True)
