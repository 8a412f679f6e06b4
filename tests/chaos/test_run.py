"""A short run with all faults. ``make chaos`` makes long runs."""

from pathlib import Path

import pytest

from tests.chaos import run as chaos
from tests.chaos.schedule import Kind, schedule

SEED = 20
SECONDS = 30.0
ALL = tuple(Kind)


def test_the_seed_decides_the_schedule_of_faults() -> None:
    first, again, other = (schedule(s, seconds=60, nodes=16, kinds=ALL) for s in (1, 1, 2))
    assert first == again
    assert first != other
    assert {fault.kind for fault in first} == set(Kind)


@pytest.mark.timeout(900)
def test_a_run_of_all_faults_finds_nothing(folder: Path) -> None:
    outcome = chaos.run(seed=SEED, seconds=SECONDS, folder=folder)
    print(f"seed {SEED}, logs: {folder}\n{outcome.text}")
    assert outcome.findings == []
