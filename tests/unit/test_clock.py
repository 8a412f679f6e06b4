"""The time of the database counts, and the difference of a process's clock is measured."""

import datetime as dt
import time

import pytest
from prometheus_client import REGISTRY

from provisioner.common import clock
from tests import budgets
from tests.system.stack import ROOT

OWN = {
    "provisioner/common/clock.py": "this is it",
    "provisioner/certificates.py": "a certificate is compared by whoever reads it, by own clock",
    "provisioner/standalone/scenario.py": "what this process has seen since it began",
    "inventory/nodes/engines/simulated/service.py": "a node's clock, which may be wrong",
    "inventory/nodes/agent/fences.py": "the records of one node",
    "inventory/nodes/agent/records.py": "the records of one node",
    "inventory/nodes/agent/targets.py": "the records of one node",
}
"""Files that may read the clock of their machine, and why."""


@pytest.fixture(autouse=True)
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_clock", clock._Clock())


def compare(ahead: float, *, took: float = 0.0) -> None:
    """Compare with a database that is ``ahead`` seconds ahead and ``took`` seconds to answer."""
    began = time.monotonic()
    clock.clock_compared(time.time() + ahead, began, began + took)


def ahead() -> float:
    return (clock.now() - dt.datetime.now(dt.UTC)).total_seconds()


def test_only_listed_files_read_the_clock_of_the_machine() -> None:
    read = ("timezone.now", "datetime.now(", "utcnow(", "time.time()", "date.today(")
    found = {
        name
        for path in budgets.sources(ROOT)
        if not (name := str(path.relative_to(ROOT))).startswith(("tests/", "provisionerctl/"))
        and any(word in path.read_text() for word in read)
    }
    assert found == set(OWN)


def test_the_machines_clock_counts_before_the_first_connection() -> None:
    assert abs(ahead()) < 1


@pytest.mark.parametrize("seconds", [600.0, -600.0])
def test_the_time_of_the_database_counts(seconds: float) -> None:
    compare(seconds)
    assert abs(ahead() - seconds) < 1
    assert clock.epoch_seconds() == pytest.approx(time.time() + seconds, abs=1)
    assert REGISTRY.get_sample_value("provisioner_clock_skew_seconds") == pytest.approx(600, abs=1)


def test_a_slow_answer_that_fits_the_known_offset_changes_nothing() -> None:
    compare(600)
    known = clock._clock.offset
    compare(601, took=5)
    assert clock._clock.offset == known
    compare(700, took=5)
    assert abs(ahead() - 695) < 1, "the least change that it allows"


def test_a_step_of_the_machines_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    compare(0)
    before, real = clock.now(), time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    assert clock.now() - before < dt.timedelta(seconds=5)


def test_a_wrong_clock_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        compare(600)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
