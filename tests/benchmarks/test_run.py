"""A very short run of the benchmarks. It checks that figures are measured, not their values."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.figures import Sizes
from tests.benchmarks.rhythm import Wanted
from tests.benchmarks.run import run
from tests.programs import tool

TINY = Sizes(
    concurrencies=(2,),
    few_volumes=200,
    metrics_volumes=300,
    many_volumes=600,
    recordings=1,
    rounds=1,
    scrapes=1,
    rhythms=(Wanted(300), Wanted(500, slower=2)),
    scale_hosts=1_100,
    scale_volumes=700,
    scale_tenants=3,
    scale_snapshots=3,
    scale_tasks=10,
    scale_calls=2,
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's account can reach."""
    made = Path(tempfile.mkdtemp(prefix="provisioner-benchmarks-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.mark.timeout(900)  # it starts the whole production form
def test_figures_come_out(folder: Path) -> None:
    """It measures the parts that use the code of the other parts."""
    tool("haproxy")
    parts = ["creates", "metrics", "lists", "limits", "rhythm", "scale"]
    lines = run(parts, 0.2, TINY, folder).splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| ")]
    assert [row[0] for row in rows[2:]] == [
        "| create, 1 replica",
        "| create, 3 replicas",
        "| /metrics, 1,000 nodes, 300 volumes",
    ]
    assert {len(row) for row in rows} == {9}
    for note, number in (
        ("/metrics at ", 2),
        ("GET /volumes of 600: ", 1),
        ("p95 of another tenant's poll: ", 1),
        ("a poll takes ", 1),
        ("300 hosts at their rhythm: poll p50 ", 1),
        ("500 hosts at a rhythm 2 times as slow: poll p50 ", 1),
        ("GET /metrics with 700 volumes: p50 ", 1),
        ("a create of one replica with 700 volumes: p50 ", 1),
    ):
        assert sum(line.startswith(f"* {note}") for line in lines) == number
