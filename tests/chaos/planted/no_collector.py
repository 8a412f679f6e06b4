"""The bug: the collector does nothing."""

from types import ModuleType

from tests.chaos.planted.plant import after_import


def _empty(module: ModuleType) -> None:
    module.STEPS = ()  # type: ignore[attr-defined]


after_import("volumes.reconcilers.garbage_collector", _empty)
