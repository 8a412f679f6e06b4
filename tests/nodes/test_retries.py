"""The pauses between attempts of what failed."""

from types import SimpleNamespace

import pytest

from inventory.nodes.engines import retries as module
from inventory.nodes.engines.retries import Retries


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_the_pause_doubles_up_to_the_longest(clock: list[float]) -> None:
    retries = Retries(10.0, 35.0)
    pauses = []
    for _ in range(4):
        retries.fail("s")
        pauses.append(retries.seconds)
        assert retries.take() == []
        clock[0] += pauses[-1] or 0
        assert retries.is_due
        assert retries.take() == ["s"]
        assert retries.seconds is None
    assert pauses == [10, 20, 35, 35]
    retries.succeed("s")
    retries.fail("s")
    assert retries.seconds == 10


def test_a_planned_attempt_is_not_delayed(clock: list[float]) -> None:
    retries = Retries(10.0, 35.0)
    retries.fail("s")
    clock[0] += 4
    retries.fail("s")
    retries.fail("t")
    assert retries.seconds == 6
    clock[0] += 6
    assert retries.take() == ["s"]
    retries.fail("s")  # it failed again while it was tried
    retries.succeed("s")
    assert retries.seconds == 4
    clock[0] += 20
    assert retries.take() == ["s", "t"]


def test_only_what_failed_again_keeps_its_pause(clock: list[float]) -> None:
    retries = Retries(10.0, 35.0)
    retries.fail("s")
    retries.fail("t")
    retries.begin({"s"})
    assert retries.seconds is None
    retries.fail("t")
    assert retries.seconds == 10
    retries.begin({"s", "t"})
    retries.fail("s")
    assert retries.seconds == 20
