"""The space of an SSD, as an engine counts it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Space:
    """The space of one SSD in bytes.

    ``allocated``: the allocations of its volumes and snapshots. ``outgrown``: the bytes that they
    use beyond their allocations. ``committed``: both together, rounded to the units in which the
    engine allocates.
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
