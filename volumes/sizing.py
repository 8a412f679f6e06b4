"""Sizes: GiB as clients give them, bytes as everything else has them (contract, section 5)."""

from collections.abc import Iterable
from itertools import accumulate, pairwise

from volumes.models import ProvisioningType

GIB = 2**30
MAX_GIB = 2**33 - 1
DEFAULT_RESERVED_PERCENT = 10
LEAST_RESERVED_PERCENT = 2
LEAST_RESERVED_BYTES = 20 * GIB


def reserved_bytes(capacity_bytes: int, percent: int) -> int:
    """Space set aside for a thin volume: ``percent`` of its capacity (0: the default), at least
    the larger of 2 % and 20 GiB, at most the capacity.
    """
    wanted = capacity_bytes * (percent or DEFAULT_RESERVED_PERCENT) // 100
    least = max(capacity_bytes * LEAST_RESERVED_PERCENT // 100, LEAST_RESERVED_BYTES)
    return min(max(wanted, least), capacity_bytes)


def claimed_bytes(provisioning_type: str, capacity_bytes: int, percent: int) -> int:
    """What one replica takes from SSDs and budget: all of it, or the reserved space."""
    if provisioning_type == ProvisioningType.THICK:
        return capacity_bytes
    return reserved_bytes(capacity_bytes, percent)


def shared_out(size_bytes: int, capacities: Iterable[int]) -> list[int]:
    """``size_bytes`` over pieces in proportion to their capacities, to the byte: no share is more
    than its piece, if all together are not.
    """
    sums = list(accumulate(capacities))
    ends = [size_bytes * end // sums[-1] for end in sums]
    return [end - start for start, end in pairwise([0, *ends])]
