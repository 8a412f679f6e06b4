"""The harness can fail: it finds each planted bug, and says so in words of its own.

Bugs that do not hide each other are planted in one run.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos import run as chaos
from tests.chaos.schedule import Kind
from tests.system.stack import ROOT

pytestmark = pytest.mark.timeout(600)
SECONDS = (16.0, 48.0)
"""If the first run does not find all, the machine may be slow, and a longer one follows."""
Expected = Callable[[str], bool]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a bug, the system never settles: do not wait for it longer than a bug needs to show."""
    monkeypatch.setattr("tests.chaos.settling.SETTLE_SECONDS", 10.0)
    monkeypatch.setattr("tests.chaos.faults.RECOVERED_SECONDS", 10.0)
    monkeypatch.setattr("tests.chaos.faults.FINISHED_SECONDS", 10.0)
    monkeypatch.setattr("tests.chaos.clients.FINISH_SECONDS", 10.0)


def require_found(folder: Path, bugs: list[str], kinds: list[Kind], *expected: Expected) -> None:
    """Require that a run finds all that is expected."""
    folder.chmod(0o755)
    for seconds in SECONDS:
        within = folder / f"{seconds:.0f}"
        within.mkdir()
        found = findings(within, bugs, kinds, seconds)
        missed = [one for one in expected if not any(map(one, found))]
        if not missed:
            return
    pytest.fail(f"{len(missed)} of {len(expected)} bugs were not found: {found}")


def findings(folder: Path, bugs: list[str], kinds: list[Kind], seconds: float) -> list[str]:
    """What a run finds whose processes have these bugs, modules of tests.chaos.planted."""
    planted = folder / "planted"
    planted.mkdir()
    imports = (f"import tests.chaos.planted.{bug}\n" for bug in bugs)
    (planted / "sitecustomize.py").write_text("".join(imports))
    outcome = chaos.run(
        seed=1,
        seconds=seconds,
        folder=folder,
        python_path=f"{planted}:{ROOT}",
        kinds=tuple(kinds),
        each=1,  # few processes show the bugs sooner
    )
    print(outcome.text, *outcome.findings, f"logs: {folder}", sep="\n")
    return outcome.findings


def test_an_idle_collector_and_capacity_that_is_released_early_are_found(folder: Path) -> None:
    faults = [Kind.PARTITION, Kind.RESTART_NODE]
    require_found(
        folder,
        ["no_collector", "early_release"],
        faults,
        lambda text: text.startswith("still unfinished: "),
        lambda text: "which has no row" in text,
        lambda text: text.endswith("nodes hold more than the bytes that are claimed"),
    )


def test_a_stale_copy_and_a_loss_that_is_not_reported_are_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {"create": 2, "publish": 2, "write": 2, "meet_copy": 2, "tend": 1}
    monkeypatch.setattr("tests.chaos.clients.WEIGHTS", weights)
    monkeypatch.setattr("tests.chaos.system.COPY_MIB", 512)
    require_found(
        folder,
        ["stale_copy", "loss_untold"],
        [Kind.FLUSH_REDIS, Kind.LOSE_VOLUME],
        lambda text: "'Available'" in text and " holds '" in text,
        lambda text: "'Available'" in text and " holds None" in text,
    )


def test_a_lost_replica_that_is_made_anew_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {"create": 2, "publish": 4, "write": 4}
    monkeypatch.setattr("tests.chaos.clients.WEIGHTS", weights)
    monkeypatch.setattr("tests.chaos.clients.REPLICAS", [3])
    require_found(
        folder,
        ["lost_made_anew"],
        [Kind.EMPTY_NODE],
        lambda text: "its Available replicas hold" in text,
    )
