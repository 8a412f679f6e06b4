"""Turns: no key gets more than its share or waits for ever, and the key with the fewest turns is
next.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from provisioner.common.lanes import Bounds, Lane, LaneFull, three_quarters

LONG = 60.0


@pytest.fixture
def lane() -> Lane:
    return Lane()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as executor:
        yield executor


def waiting(lane: Lane, threads: ThreadPoolExecutor, key: str, bounds: Bounds) -> Future[ExitStack]:
    """A thread that waits for a turn. Its result is the turn."""
    before = len(lane._waiting)

    def take() -> ExitStack:
        held = ExitStack()
        held.enter_context(lane.turn(key, bounds))
        return held

    future = threads.submit(take)
    while len(lane._waiting) == before:
        assert not future.done()
    return future


def test_turns_are_limited_in_total_and_for_each_key(lane: Lane) -> None:
    bounds = Bounds(3, 2)
    with lane.turn("a", bounds), lane.turn("a", bounds):
        with pytest.raises(LaneFull), lane.turn("a", bounds):
            pass
        with lane.turn("b", bounds), pytest.raises(LaneFull), lane.turn("c", bounds):
            pass
        assert lane.taken == 2
    assert lane.is_idle


def test_a_wait_for_a_turn_ends_after_its_time_limit(lane: Lane) -> None:
    with lane.turn("a", Bounds(1, 1)):
        with pytest.raises(LaneFull), lane.turn("b", Bounds(1, 1, 0.01)):
            pass
        assert not lane._waiting
    assert lane.is_idle


def test_a_returned_turn_goes_to_a_waiting_thread(lane: Lane, threads: ThreadPoolExecutor) -> None:
    bounds = Bounds(1, 1, LONG)
    with lane.turn("a", bounds):
        future = waiting(lane, threads, "a", bounds)
    future.result(LONG).close()
    assert lane.is_idle


def test_the_key_with_the_fewest_turns_is_next(lane: Lane, threads: ThreadPoolExecutor) -> None:
    """The key with fewer turns is next, although the other one came first."""
    bounds = Bounds(2, 2, LONG)
    first, second = ExitStack(), ExitStack()
    first.enter_context(lane.turn("much", bounds))
    second.enter_context(lane.turn("much", bounds))
    more = [waiting(lane, threads, "much", bounds) for _ in range(3)]
    little = waiting(lane, threads, "little", bounds)
    first.close()
    little.result(LONG).close()
    second.close()
    for future in more:
        future.result(LONG).close()
    assert lane.is_idle


def test_a_key_at_its_limit_does_not_block_others(lane: Lane, threads: ThreadPoolExecutor) -> None:
    """A key with all of its turns does not block free turns for others."""
    bounds = Bounds(3, 1, LONG)
    with lane.turn("a", bounds):
        own = waiting(lane, threads, "a", bounds)
        with lane.turn("b", bounds):
            pass
        assert not own.done()
    own.result(LONG).close()


def test_a_failure_returns_the_turn(lane: Lane) -> None:
    with pytest.raises(ZeroDivisionError), lane.turn("a", Bounds(1, 1)):
        raise ZeroDivisionError
    assert lane.is_idle


def test_no_turn_is_lost_or_duplicated(lane: Lane, threads: ThreadPoolExecutor) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work(number: int) -> None:
        nonlocal running, most
        for _ in range(200):
            with lane.turn(number % 4, Bounds(3, 2, LONG)):
                with lock:
                    running += 1
                    most = max(most, running)
                with lock:
                    running -= 1

    list(threads.map(work, range(16)))
    assert most <= 3
    assert lane.is_idle


@pytest.mark.parametrize(("whole", "part"), [(1, 1), (2, 1), (4, 3), (16, 12), (64, 48)])
def test_three_quarters_are_rounded_down_but_at_least_one(whole: int, part: int) -> None:
    assert three_quarters(whole) == part
