"""Sizes: clients give GiB, everything else uses bytes (contract, section 5)."""

from collections.abc import Iterable
from itertools import accumulate, pairwise

from volumes.models import ProvisioningType

GIB = 2**30
MAX_GIB = 2**33 - 1
DEFAULT_RESERVED_PERCENT = 10
LEAST_RESERVED_PERCENT = 2
LEAST_RESERVED_BYTES = 20 * GIB


def reserved_bytes(capacity_bytes: int, percent: int) -> int:
    """Return the bytes reserved for a thin volume or snapshot.

    That is ``percent`` of its capacity (0: the default), at least the larger of 2 % and 20 GiB, at
    most the capacity.
    """
    wanted = capacity_bytes * (percent or DEFAULT_RESERVED_PERCENT) // 100
    least = max(capacity_bytes * LEAST_RESERVED_PERCENT // 100, LEAST_RESERVED_BYTES)
    return min(max(wanted, least), capacity_bytes)


def claimed_bytes(provisioning_type: str, capacity_bytes: int, percent: int) -> int:
    """Return what one replica claims of SSDs and budget: the capacity if thick, else the reserved
    space.
    """
    if provisioning_type == ProvisioningType.THICK:
        return capacity_bytes
    return reserved_bytes(capacity_bytes, percent)


def shared_out(size_bytes: int, capacities: Iterable[int]) -> list[int]:
    """Split ``size_bytes`` over sub-volumes in proportion to their capacities, without remainder.

    No share exceeds its capacity, if ``size_bytes`` does not exceed their sum.
    """
    sums = list(accumulate(capacities))
    ends = [size_bytes * end // sums[-1] for end in sums]
    return [end - start for start, end in pairwise([0, *ends])]
