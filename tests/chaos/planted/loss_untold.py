"""The bug: an agent trusts its records, and never reports that the data plane lost a volume."""

from types import ModuleType

from tests.chaos.planted.plant import after_import


def _believe(module: ModuleType) -> None:
    async def held(self: object) -> object:
        return self._records.volumes()  # type: ignore[attr-defined]

    async def fine(self: object, uuid: str, spec: object) -> None:
        return None

    module.Presence.volumes = held
    module.Presence.require_volume = fine


after_import("inventory.nodes.agent.presence", _believe)
