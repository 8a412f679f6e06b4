"""The cost of the limits for callers who do not exceed them, and their benefit for other
callers.
"""

import http.client
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from tests.benchmarks import data, load, processes
from tests.benchmarks.load import Load
from tests.benchmarks.measuring import Meter
from tests.benchmarks.system import System

LISTS = 32
LISTED_CALLERS = 4


@dataclass(frozen=True)
class Listed:
    """One list of all volumes. MiB are those of all API processes together."""

    volumes: int
    first_byte_ms: float
    seconds: float
    mib_before: float
    mib_peak: float


def cost(system: System) -> tuple[float, float]:
    """Return the CPU milliseconds of a poll, with the turns of callers and without."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.poll_cost", system.token, str(data.HOSTS)],
        env=system.environment | {"LOG_LEVEL": "WARNING"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with_turns, without = map(float, done.stdout.split())
    return with_turns, without


def listed(system: System) -> Listed:
    """Make one list of all volumes while nothing else runs."""
    workers = list(processes.children(system.services["API"].running.pid))
    for worker in workers:
        processes.forget_peak(worker)
    before = sum(map(processes.peak_mib, workers))
    connection = http.client.HTTPSConnection(
        "127.0.0.1", system.port, context=ssl.create_default_context(cafile=system.ca)
    )
    began = time.monotonic()
    headers = {"Authorization": f"Bearer {system.token}"}
    connection.request("GET", "/volumes", headers=headers)
    answer = connection.getresponse()
    text = [answer.read(1)]
    first = time.monotonic() - began
    text.append(answer.read())
    seconds = time.monotonic() - began
    connection.close()
    peak = sum(map(processes.peak_mib, workers))
    return Listed(len(json.loads(b"".join(text))), first * 1000, seconds, before, peak)


def others_p95(system: System, meter: Meter, rounds: int) -> tuple[float, float]:
    """Return the milliseconds of polls of another tenant: while nobody lists, and while one caller
    has LISTS lists of all volumes in progress.

    Both are measured alternately, and the medians are returned. Each poll asks for one task,
    because polls for the tasks of a host are answered from memory.
    """
    token = system.token_of("other", "STORAGE", "t2")
    poll = meter.load(
        "GET",
        "/tasks?taskId=task-<n>",
        numbers=data.HOSTS,
        expect="[",
        token=token,
        concurrency=LISTED_CALLERS,
    )
    lists = meter.load("GET", "/volumes", concurrency=LISTS, may_refuse=True, seconds=600.0)
    alone, beside = [], []
    for _ in range(2 * rounds + 1):
        alone.append(load.run(poll).percentile(95))
        with running(lists):
            beside.append(load.run(poll).percentile(95))
    return median(alone), median(beside)


@contextmanager
def running(wanted: Load) -> Iterator[None]:
    """A context in which the load runs. Its results are ignored."""
    process = load.begin(wanted)
    try:
        time.sleep(2)  # its connections are open, and its first calls wait for their answers
        yield
        assert process.poll() is None, "the load ended"
    finally:
        process.kill()
        process.communicate()
