"""Sizes. Clients give GiB; all other code uses bytes."""

from collections.abc import Iterable
from itertools import accumulate, pairwise

from volumes.models import ProvisioningType

GIB = 2**30
MAX_GIB = 2**33 - 1
DEFAULT_RESERVED_PERCENT = 10
LEAST_RESERVED_PERCENT = 2
LEAST_RESERVED_BYTES = 20 * GIB


def reserved_bytes(capacity_bytes: int, percent: int) -> int:
    """Return the bytes that are reserved for a thin volume or snapshot.

    That is ``percent`` of its capacity (0: the default), but at least 2 % and at least 20 GiB, and
    at most the capacity.
    """
    wanted = capacity_bytes * (percent or DEFAULT_RESERVED_PERCENT) // 100
    least = max(capacity_bytes * LEAST_RESERVED_PERCENT // 100, LEAST_RESERVED_BYTES)
    return min(max(wanted, least), capacity_bytes)


def claimed_bytes(provisioning_type: str, capacity_bytes: int, percent: int) -> int:
    """Return the bytes that one replica claims of SSDs and budget: the capacity if thick, else the
    reserved space.
    """
    if provisioning_type == ProvisioningType.THICK:
        return capacity_bytes
    return reserved_bytes(capacity_bytes, percent)


def split_in_proportion(size_bytes: int, capacities: Iterable[int]) -> list[int]:
    """Split ``size_bytes`` over sub-volumes in proportion to their capacities. The shares add up
    exactly.

    No share exceeds its capacity, if ``size_bytes`` does not exceed the sum of the capacities.
    """
    sums = list(accumulate(capacities))
    ends = [size_bytes * end // sums[-1] for end in sums]
    return [end - start for start, end in pairwise([0, *ends])]
