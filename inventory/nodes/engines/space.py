"""The space of an SSD as an engine counts it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Space:
    """Bytes of one SSD. ``allocated``: allocations of its volumes and snapshots. ``outgrown``: what
    they use beyond their allocations. ``committed``: both, in the units in which the engine
    allocates.
    """

    capacity: int
    allocated: int
    outgrown: int
    committed: int

    @property
    def free(self) -> int:
        """Capacity that is neither allocated nor outgrown."""
        return max(0, self.capacity - self.allocated - self.outgrown)

    @property
    def is_enough(self) -> bool:
        """Whether the committed space fits."""
        return self.committed <= self.capacity
