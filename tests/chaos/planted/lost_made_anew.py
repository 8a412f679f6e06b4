"""The bug: a lost replica is created again without data, instead of being reported Missing."""

from types import ModuleType
from typing import Any

from inventory.services.node.call_time import call_deadline
from tests.chaos.planted.plant import after_import


def _make(module: ModuleType) -> None:
    from volumes.services.node_calls import replicas_ensure

    def make_anew(replica: Any) -> None:
        replicas_ensure(replica.volume, [replica], until=call_deadline())

    module._mark_missing = make_anew  # type: ignore[attr-defined]


after_import("volumes.services.node.missing", _make)
