"""The harness can fail: it finds each planted bug, and its findings describe the bug."""

from pathlib import Path

import pytest

from tests.chaos import run as chaos
from tests.chaos.schedule import Kind
from tests.system.stack import ROOT

pytestmark = pytest.mark.timeout(600)
PLANTED = Path(__file__).with_name("planted")
SECONDS = 12.0


def findings(
    bug: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *kinds: Kind,
    seconds: float = SECONDS,
) -> list[str]:
    """Return the findings of a short run whose processes have the bug."""
    monkeypatch.setattr("tests.chaos.settling.SETTLE_SECONDS", 10.0)
    monkeypatch.setattr("tests.chaos.faults.RECOVERED_SECONDS", 10.0)
    monkeypatch.setattr("tests.chaos.faults.FINISHED_SECONDS", 10.0)
    monkeypatch.setattr("tests.chaos.clients.FINISH_SECONDS", 10.0)
    path = f"{PLANTED / bug}:{ROOT}"
    each = 2 if Kind.KILL_API in kinds else 1  # fewer processes find the bugs sooner
    outcome = chaos.run(
        seed=1, seconds=seconds, folder=folder, python_path=path, kinds=kinds, each=each
    )
    print(outcome.text, *outcome.findings, f"logs: {folder}", sep="\n")
    return outcome.findings


def test_a_collector_that_does_nothing_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = findings("no_collector", folder, monkeypatch, Kind.KILL_API, Kind.PARTITION)
    assert any(text.startswith("still unfinished: ") for text in found)


def test_capacity_released_too_early_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = findings("early_release", folder, monkeypatch, Kind.RESTART_NODE)
    assert any("which no row knows" in text for text in found)
    assert any(text.endswith("nodes hold more than the bytes that are claimed") for text in found)


def test_a_stale_copy_that_counts_as_good_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.chaos.clients.WEIGHTS", {"create": 1, "meet_copy": 1, "tend": 1})
    monkeypatch.setattr("tests.chaos.system.COPY_MIB", 512)
    found = findings("stale_copy", folder, monkeypatch, Kind.FLUSH_REDIS)
    assert any("'Available'" in text and " holds '" in text for text in found)


LOSING = {"create": 2, "publish": 4, "write": 4}
LOSING_SECONDS = 20.0


def test_a_loss_that_an_agent_hides_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.chaos.clients.WEIGHTS", LOSING)
    found = findings("loss_untold", folder, monkeypatch, Kind.LOSE_VOLUME, seconds=LOSING_SECONDS)
    assert any("'Available'" in text and " holds None" in text for text in found)


def test_a_lost_replica_created_again_empty_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.chaos.clients.WEIGHTS", LOSING)
    monkeypatch.setattr("tests.chaos.clients.REPLICAS", [3])
    found = findings("lost_made_anew", folder, monkeypatch, Kind.EMPTY_NODE, seconds=LOSING_SECONDS)
    assert any("its Available replicas hold" in text for text in found)
