"""Reserved space: exact values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volumes.models import ProvisioningType
from volumes.sizing import GIB, claimed_bytes, reserved_bytes, split_in_proportion


@pytest.mark.parametrize(
    ("capacity_gib", "percent", "reserved_gib"),
    [
        (10, 0, 10),  # never more than the capacity
        (20, 0, 20),
        (100, 0, 20),  # the default is 10 %, and 20 GiB at least
        (500, 0, 50),
        (500, 2, 20),  # 2 % is 10 GiB: 20 at least
        (2000, 1, 40),  # 2 % at least
        (2000, 3, 60),
        (100, 100, 100),
        (100, 55, 55),
    ],
)
def test_reserved_space_has_a_minimum_and_a_maximum(
    capacity_gib: int, percent: int, reserved_gib: int
) -> None:
    assert reserved_bytes(capacity_gib * GIB, percent) == reserved_gib * GIB


def test_thick_volumes_claim_all_and_thin_ones_their_reserved_space() -> None:
    assert claimed_bytes(ProvisioningType.THICK, 100 * GIB, 5) == 100 * GIB
    assert claimed_bytes(ProvisioningType.THIN, 100 * GIB, 5) == 20 * GIB


@given(st.lists(st.integers(1, 2**50), min_size=1, max_size=8), st.integers(0, 100))
def test_shares_add_up_and_fit_their_sub_volumes(capacities: list[int], percent: int) -> None:
    size = sum(capacities) * percent // 100
    shares = split_in_proportion(size, capacities)
    assert sum(shares) == size
    assert all(0 <= share <= piece for share, piece in zip(shares, capacities, strict=True))
    for share, piece in zip(shares, capacities, strict=True):
        assert abs(share - size * piece / sum(capacities)) <= 1 + size * 1e-12
