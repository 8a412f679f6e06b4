"""What simulated nodes know of each other's engines."""

from typing import Protocol

from inventory.nodes.engines.base import TargetState
from inventory.nodes.engines.simulated.engine_state import EngineState
from inventory.nodes.wire import Portal, VolumeSpec


class Checked(Protocol):
    """Copies that can check again whether their targets exist."""

    def check(self) -> None:
        """Fail the copies whose target is gone."""


class Peer(Protocol):
    """An engine in the same network. The members are those of ``SimulatedEngine``."""

    is_cut_off: bool
    faults: list[str]
    engine_state: EngineState

    @property
    def copies(self) -> Checked:
        """The copies of the engine."""

    @property
    def portals(self) -> tuple[Portal, ...]:
        """Where its targets listen."""

    @property
    def targets(self) -> dict[str, TargetState]:
        """Its targets with namespaces, by NQN."""

    def volume(self, uuid: str) -> VolumeSpec | None:
        """The volume that the engine holds."""
