"""The interface that simulated nodes use to access the engines of other nodes."""

from collections.abc import Mapping
from typing import Protocol

from inventory.nodes.engines.base import TargetState
from inventory.nodes.engines.simulated.engine_state import EngineState
from inventory.nodes.wire import Portal, VolumeSpec


class Checked(Protocol):
    """Copies that can check again whether their targets exist."""

    def check(self) -> None:
        """Fail the copies whose target no longer exists."""


class Peer(Protocol):
    """An engine in the same network. :class:`SimulatedEngine` has these members."""

    is_cut_off: bool
    faults: list[str]
    engine_state: EngineState

    @property
    def copies(self) -> Checked:
        """The copies of the engine."""

    @property
    def portals(self) -> tuple[Portal, ...]:
        """The addresses where its targets listen."""

    @property
    def targets(self) -> Mapping[str, TargetState]:
        """Its targets with namespaces, by NQN."""

    def volume(self, uuid: str) -> VolumeSpec | None:
        """Return the volume in the engine."""
