"""The harness can fail: it finds each planted bug, and says so in words of its own.

Bugs that do not hide each other are planted in one run.
"""

from pathlib import Path

import pytest

from tests.chaos import run as chaos
from tests.chaos.schedule import Kind
from tests.system.stack import ROOT

pytestmark = pytest.mark.timeout(600)
SECONDS = 16.0


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a bug, the system never settles: do not wait for it longer than a bug needs to show."""
    monkeypatch.setattr("tests.chaos.settling.SETTLE_SECONDS", 10.0)
    monkeypatch.setattr("tests.chaos.faults.RECOVERED_SECONDS", 10.0)
    monkeypatch.setattr("tests.chaos.faults.FINISHED_SECONDS", 10.0)
    monkeypatch.setattr("tests.chaos.clients.FINISH_SECONDS", 10.0)


def findings(folder: Path, bugs: list[str], kinds: list[Kind]) -> list[str]:
    """What a short run finds whose processes have these bugs, modules of tests.chaos.planted."""
    planted = folder / "planted"
    planted.mkdir()
    imports = (f"import tests.chaos.planted.{bug}\n" for bug in bugs)
    (planted / "sitecustomize.py").write_text("".join(imports))
    outcome = chaos.run(
        seed=1,
        seconds=SECONDS,
        folder=folder,
        python_path=f"{planted}:{ROOT}",
        kinds=tuple(kinds),
        each=1,  # few processes show the bugs sooner
    )
    print(outcome.text, *outcome.findings, f"logs: {folder}", sep="\n")
    return outcome.findings


def test_an_idle_collector_and_capacity_that_is_released_early_are_found(folder: Path) -> None:
    faults = [Kind.PARTITION, Kind.RESTART_NODE]
    found = findings(folder, ["no_collector", "early_release"], faults)
    assert any(text.startswith("still unfinished: ") for text in found)
    assert any("which has no row" in text for text in found)
    assert any(text.endswith("nodes hold more than the bytes that are claimed") for text in found)


def test_a_stale_copy_and_a_loss_that_is_not_reported_are_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {"create": 2, "publish": 2, "write": 2, "meet_copy": 2, "tend": 1}
    monkeypatch.setattr("tests.chaos.clients.WEIGHTS", weights)
    monkeypatch.setattr("tests.chaos.system.COPY_MIB", 512)
    found = findings(folder, ["stale_copy", "loss_untold"], [Kind.FLUSH_REDIS, Kind.LOSE_VOLUME])
    assert any("'Available'" in text and " holds '" in text for text in found)
    assert any("'Available'" in text and " holds None" in text for text in found)


def test_a_lost_replica_that_is_made_anew_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {"create": 2, "publish": 4, "write": 4}
    monkeypatch.setattr("tests.chaos.clients.WEIGHTS", weights)
    monkeypatch.setattr("tests.chaos.clients.REPLICAS", [3])
    found = findings(folder, ["lost_made_anew"], [Kind.EMPTY_NODE])
    assert any("its Available replicas hold" in text for text in found)
