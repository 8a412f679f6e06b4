"""What simulated nodes see of each other's engines."""

from typing import Protocol

from inventory.nodes.engines.base import TargetState
from inventory.nodes.engines.simulated.engine_state import EngineState
from inventory.nodes.wire import Portal, VolumeSpec


class Checked(Protocol):
    """Copies that look again whether their target is there."""

    def check(self) -> None:
        """Fail the copies that have lost their target."""


class Peer(Protocol):
    """An engine in the same network; the members are those of ``SimulatedEngine``."""

    is_cut_off: bool
    faults: list[str]
    engine_state: EngineState

    @property
    def copies(self) -> Checked:
        """Those that the engine runs."""

    @property
    def portals(self) -> tuple[Portal, ...]:
        """Where its targets listen."""

    @property
    def targets(self) -> dict[str, TargetState]:
        """Those that have namespaces, by NQN."""

    def volume(self, uuid: str) -> VolumeSpec | None:
        """What the engine itself holds."""
