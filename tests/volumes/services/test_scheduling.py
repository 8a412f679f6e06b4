"""Attempts to claim planned space while other requests claim it, too."""

import pytest

from volumes.services.claims import ClaimLost
from volumes.services.scheduling import CLAIM_ATTEMPTS, NoCandidate, claim_attempts

CONCURRENT = 16
"""Requests that an API process works on at once."""


def claimed_after(losses: int) -> int:
    """Claim, and lose this often. Returns the number of attempts."""
    made = 0
    for attempt in claim_attempts():
        with attempt:
            made += 1
            if made <= losses:
                raise ClaimLost
    return made


def test_a_request_may_lose_against_each_other_one_of_its_process() -> None:
    assert claimed_after(0) == 1
    assert claimed_after(CONCURRENT - 1) == CONCURRENT


def test_a_request_that_loses_each_attempt_is_refused() -> None:
    with pytest.raises(NoCandidate, match=f"{CLAIM_ATTEMPTS} times: try again"):
        claimed_after(CLAIM_ATTEMPTS)
