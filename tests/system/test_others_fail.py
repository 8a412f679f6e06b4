"""Effects of other components on the production form: a node that hangs, workers without CPU time,
a machine with a wrong clock, a broker that restarts repeatedly.
"""

import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from inventory.nodes.https import READ_SECONDS
from tests.programs import tool
from tests.system.stack import ROOT, Service, Stack, announced
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(900)

NODES = 5
CLIENTS = 8
CREATES = 320
PROBE_SECONDS = 4
SKEW_SECONDS = 600
CLOCK = Path(__file__).with_name("clock.c")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    tool("haproxy")
    running = Stack(
        {
            "PROBE_INTERVAL_SECONDS": str(PROBE_SECONDS),
            "POLL_INTERVAL_SECONDS": "2",
            "COLLECT_INTERVAL_SECONDS": "1",
        }
    )
    yield running
    running.stop()


class Client:
    """Calls the API through HAProxy."""

    def __init__(self, stack: Stack) -> None:
        self._url, self._http = stack.url, stack.pool()
        token = stack.manage("token_create", "--name=t", "--role=ADMIN", "--expiration=3600")
        self._headers = {"Authorization": f"Bearer {token.strip()}"}

    def call(self, method: str, path: str, body: object = None, url: str = "") -> Any:
        said_by_haproxy = {"X-SSL-Client-Verify": "SUCCESS"} if url else {}
        headers = self._headers | said_by_haproxy
        answer = self._http.request(
            method, (url or self._url) + path, json=body, headers=headers, timeout=60
        )
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        return answer.json() if is_json else answer.data.decode()

    def create(self, alias: str) -> float:
        """Create a volume. Returns the seconds that it took.

        :raises AssertionError: it failed.
        """
        began = time.monotonic()
        answer = self.call("POST", "/volumes", {"alias": alias, "capacity": 1})
        assert answer["status"] == "Success", answer
        return time.monotonic() - began

    def metric(self, name: str, url: str = "") -> dict[str, float]:
        """Return the values of a metric, by its labels."""
        text = self.call("GET", "/metrics", url=url)
        lines = [line for line in text.splitlines() if name in line]
        pairs = [line.rpartition(" ") for line in lines if not line.startswith("#")]
        return {label.partition("{")[2].rstrip("}"): float(value) for label, _, value in pairs}


@pytest.fixture(scope="module")
def client(stack: Stack) -> Client:
    return Client(stack)


def start_nodes(stack: Stack, client: Client, name: str, count: int, prefix: str) -> Service:
    certificate, key = stack.authority.node("nodes", ["127.0.0.1"])
    command = [sys.executable, str(ROOT / "manage.py"), "simulate_nodes", "--count", str(count)]
    command += ["--certificate", str(certificate), "--key", str(key), "--id-prefix", prefix]
    command += ["--ca", str(stack.ca), "--require-client-certificate"]
    command += ["--ssd-gib", "100000"]
    log = stack.folder / f"{name}.log"
    service = Service(command, stack.environment, log)
    for _, place in announced(log, count):
        address, _, port = place.rpartition(":")
        body = {"mgmtIPs": [address], "mgmtPort": int(port)}
        assert client.call("POST", "/backends", body)["status"] == "Success"
    return service


@pytest.fixture(scope="module")
def nodes(stack: Stack, client: Client) -> Iterator[Service]:
    """Start five nodes in one process, and one node in a separate process. Returns the latter."""
    several = start_nodes(stack, client, "nodes", NODES, "02:00:00")
    alone = start_nodes(stack, client, "alone", 1, "02:00:01")
    yield alone
    alone.kill()
    several.kill()


def p95(client: Client, prefix: str) -> float:
    with ThreadPoolExecutor(CLIENTS) as threads:
        took = list(threads.map(client.create, [f"{prefix}-{n}" for n in range(CREATES)]))
    return statistics.quantiles(took, n=20)[-1]


def states(client: Client, url: str = "") -> list[str]:
    return [backend["state"] for backend in client.call("GET", "/backends", url=url)]


def test_a_node_that_hangs_does_not_slow_creates_down(client: Client, nodes: Service) -> None:
    """The process of the node is stopped, so the kernel accepts connections to it, but nothing
    answers.
    """
    p95(client, "warm")
    before = p95(client, "normal")
    nodes.running.send_signal(signal.SIGSTOP)
    try:
        hanging = p95(client, "hanging")
        print(f"p95 {before * 1000:.0f} ms, with a hanging node {hanging * 1000:.0f} ms")
        # 1.5 is wanted; a busy machine may double it, and delay a process for some seconds
        assert hanging < 3 * before + READ_SECONDS / 4, "a create that waits takes READ_SECONDS"
        eventually(
            lambda: states(client).count("Unavailable") == 1,
            seconds=180,
            what="seen as Unavailable",
        )
        reasons = [b.get("healthReason", "") for b in client.call("GET", "/backends")]
        assert sum("has not answered calls since" in reason for reason in reasons) == 1
    finally:
        nodes.running.send_signal(signal.SIGCONT)
    eventually(lambda: set(states(client)) == {"Available"}, seconds=180, what="all are back")


def test_periodic_jobs_run_while_tasks_fill_the_workers(
    stack: Stack, client: Client, nodes: Service
) -> None:
    """The workers are stopped, so their tasks never end for the other processes."""
    for worker in stack.workers:
        worker.running.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        assert len(frequent_ages(client)) >= 6
        eventually(
            lambda: max(frequent_ages(client)) < time.monotonic() - began,
            seconds=120,
            what=lambda: f"each ran since: {frequent_ages(client)}",
        )
    finally:
        for worker in stack.workers:
            worker.running.send_signal(signal.SIGCONT)


def test_workers_survive_three_restarts_of_redis_in_five_seconds(
    stack: Stack, client: Client, nodes: Service
) -> None:
    workers = [*stack.workers, *stack.periodic]
    before = [worker.running.pid for worker in workers]
    for _ in range(3):
        stack.redis.kill()
        time.sleep(0.8)
        stack.redis.start()
        time.sleep(0.8)
    ended = [worker.log.read_text()[-4000:] for worker in workers if worker.running.poll()]
    assert ended == []
    assert [worker.running.pid for worker in workers] == before
    began = time.monotonic()

    def all_ran() -> bool:
        restart_beats(stack)
        return max(frequent_ages(client)) < time.monotonic() - began

    eventually(all_ran, seconds=240, what="all periodic jobs ran since")


def restart_beats(stack: Stack) -> None:
    """Restart beats as their supervisor does."""
    for beat in stack.beats:
        if beat.running.poll() is not None:
            beat.start()


def frequent_ages(client: Client) -> list[float]:
    intervals = client.metric("provisioner_job_interval_seconds")
    ages = client.metric("provisioner_job_age_seconds")
    return [ages[job] for job, seconds in intervals.items() if seconds <= 5]


def test_processes_with_wrong_clocks_work_correctly(
    stack: Stack, client: Client, nodes: Service, tmp_path: Path
) -> None:
    library = tmp_path / "clock.so"
    compiler = [tool("gcc"), "-shared", "-fPIC", "-O1", "-o", library, CLOCK, "-ldl"]
    subprocess.run([str(word) for word in compiler], check=True, timeout=240)
    off = {
        stack.apis[0]: SKEW_SECONDS,
        stack.workers[0]: SKEW_SECONDS,
        stack.periodic[0]: SKEW_SECONDS,
        stack.periodic[1]: -SKEW_SECONDS,
        stack.beats[0]: -SKEW_SECONDS,
        stack.beats[1]: SKEW_SECONDS,
    }
    for service, seconds in off.items():
        service.terminate()
        told = {"LD_PRELOAD": str(library), "CLOCK_OFF_SECONDS": str(seconds)}
        service.environment = {**service.environment, **told}
        service.start()
    stack.ready()
    end = time.monotonic() + 4 * PROBE_SECONDS
    while time.monotonic() < end:
        for url in stack.api_urls:
            assert set(states(client, url)) == {"Available"}
        client.create(f"skewed-{end - time.monotonic()}")
    assert max(frequent_ages(client)) < 4 * PROBE_SECONDS
    skews = [client.metric("provisioner_clock_skew_seconds", url) for url in stack.api_urls]
    [off_by], [right] = (list(skew.values()) for skew in skews)
    assert abs(off_by - SKEW_SECONDS) < 5
    assert right < 5
    logs = [service.log.read_text() for service in (*stack.workers, *stack.periodic)]
    assert not any("taken over" in log for log in logs)
