"""The bug: a copy counts as valid although a host was admitted during the copy."""

from types import ModuleType

from tests.chaos.planted.plant import after_import


def _keep(module: ModuleType) -> None:
    module.copies_outdate = lambda volume: None  # type: ignore[attr-defined]


after_import("volumes.services.copies", _keep)
