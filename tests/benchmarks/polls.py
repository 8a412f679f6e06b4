"""Generates the polls of hosts with h2load. As many connections as there are hosts stay open, and a
poll begins on each of them once per second, as real agents do, or less often.

h2load takes less CPU than :mod:`tests.benchmarks.load`, so that more hosts can be measured on the
machine that also serves them. All connections of one of its processes poll for the same host.
"""

import math
import re
import subprocess
import time
from pathlib import Path
from statistics import quantiles

from tests.benchmarks import processes
from tests.benchmarks.system import System
from tests.programs import tool

POLL = "/tasks?hostId=host-<n>5"
"""Every tenth host of the pool has a task, and none whose number ends with 5."""
PROCESSES = 10
OPENED_PER_SECOND = 250
"""Connections of hosts. If all were opened at once, all hosts would poll at the same moments."""
LOST = re.compile(r"^requests: .* (\d+) errored, (\d+) timeout", re.MULTILINE)


class PollingHosts:
    """``hosts`` that open connections from now on, and poll every ``interval`` seconds.

    From ``opening`` seconds after the start on, all hosts poll for ``seconds``.
    """

    def __init__(
        self, system: System, hosts: int, interval: int, seconds: float, token: str
    ) -> None:
        self._began = time.time()
        each = -(-hosts // PROCESSES)
        self._logs = [system.folder / f"polls-{number}.log" for number in range(PROCESSES)]
        self.opening = each * PROCESSES / OPENED_PER_SECOND + interval
        self._seconds = seconds
        polls = each * math.ceil((self.opening + seconds) / interval)
        command = [tool("h2load"), "--h1", f"-c{each}", f"--rps={1 / interval}", f"-n{polls}"]
        milliseconds = 1000 * PROCESSES // OPENED_PER_SECOND
        command += ["--rate=1", f"--rate-period={milliseconds}ms"]
        command += ["-H", f"Authorization: Bearer {token}"]
        self._running = []
        for number, log in enumerate(self._logs):
            url = f"https://127.0.0.1:{system.port}{POLL.replace('<n>', str(number))}"
            log.unlink(missing_ok=True)
            self._running.append(
                subprocess.Popen(
                    [*command, f"--log-file={log}", url],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )

    def cpu_seconds(self) -> float:
        return sum(processes.cpu_seconds(one.pid) for one in self._running)

    def end(self) -> "Polls":
        """Wait for the end. Only polls that began while all hosts polled count.

        :raises AssertionError: a connection broke.
        """
        for one in self._running:
            text, _ = one.communicate()
            lost = LOST.search(text)
            assert lost, text
            assert lost.groups() == ("0", "0"), text
        since = self._began + self.opening
        return Polls(self._logs, since, since + self._seconds)


class Polls:
    """The latencies of answered polls in milliseconds. ``refused``: the number of others. The API
    limits the requests of a caller, and here all hosts are one.
    """

    def __init__(self, logs: list[Path], since: float, until: float) -> None:
        self._milliseconds, self.refused = [], 0
        for log in logs:
            for line in log.read_text().splitlines():
                began, status, took = map(int, line.split("\t"))
                if not since * 1e6 <= began < until * 1e6:
                    continue
                if status == 200:
                    self._milliseconds.append(took / 1000)
                else:
                    self.refused += 1

    def percentile(self, percent: int) -> float:
        """Return the milliseconds within which this percentage was answered."""
        return quantiles(self._milliseconds, n=100, method="inclusive")[percent - 1]
