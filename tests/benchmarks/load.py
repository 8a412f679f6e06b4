"""Generates a load of one kind of call in a separate process: ``python -m tests.benchmarks.load``.

It uses little CPU on purpose, about 0.1 ms per call: blocking sockets, requests that are prepared
except for a number, and answers that httptools reads. It does not use Django.
"""

import json
import resource
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from statistics import quantiles

import httptools

WARM_SECONDS = 0.5
CALL_SECONDS = 60.0
LEAST_CALLS = 2  # of each connection without a rate
SHOWN_FAILURES = 3


@dataclass(frozen=True)
class Load:
    """A load with ``concurrency`` keep-alive connections. Each makes one call after the other for
    ``seconds``.

    ``<n>`` in path and body is replaced by a number from ``first`` on that no other call of the
    load has. It starts again after ``numbers`` calls, if that is not 0. ``expect``: text that a
    good answer contains. ``may_refuse``: an answer 429 is allowed; the caller tries again a second
    later, as the answer says. ``rate``: calls begin at this rate per second, and a call that waits
    for a free connection counts that time as latency. 0: each connection calls without a pause.
    """

    port: int
    ca: str
    method: str
    path: str
    token: str = ""
    body: str = ""
    expect: str = ""
    concurrency: int = 8
    seconds: float = 3.0
    first: int = 0
    numbers: int = 0
    may_refuse: bool = False
    rate: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """The result of the calls that began after WARM_SECONDS. Latencies are in milliseconds,
    ascending.
    """

    seconds: float
    latencies: tuple[float, ...]
    failures: tuple[str, ...]
    cpu_seconds: float
    calls: int

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, percent: int) -> float:
        """Return the milliseconds within which this percentage of calls was answered."""
        return quantiles(self.latencies, n=100, method="inclusive")[percent - 1]


def run(load: Load) -> Outcome:
    """Run the load in a separate process.

    :raises AssertionError: an answer was not the expected one, because figures of failed calls have
        no meaning.
    """
    return end(begin(load), load)


def end(process: subprocess.Popen[str], load: Load) -> Outcome:
    """Wait for the end of a load that :func:`begin` started.

    :raises AssertionError: as :func:`run`.
    """
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    values = json.loads(out)
    outcome = Outcome(**values | {n: tuple(values[n]) for n in ("latencies", "failures")})
    assert not outcome.failures, outcome.failures
    assert len(outcome.latencies) > 1, f"no answers: {load}"
    return outcome


def begin(load: Load) -> subprocess.Popen[str]:
    """Start the load in a separate process. It writes its outcome to its standard output."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.load"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    process.stdin.write(json.dumps(asdict(load)))
    process.stdin.close()
    process.stdin = None  # communicate() would close it again
    return process


class _Connection:
    """The connection of one caller."""

    def __init__(self, load: Load, context: ssl.SSLContext) -> None:
        plain = socket.create_connection(("127.0.0.1", load.port), timeout=CALL_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = context.wrap_socket(
            plain, server_hostname="127.0.0.1", do_handshake_on_connect=False
        )

    def call(self, request: bytes) -> tuple[int, bytes]:
        self._body: list[bytes] = []
        self._whole = False
        parser = httptools.HttpResponseParser(self)
        self._socket.sendall(request)
        while not self._whole:
            data = self._socket.recv(1 << 18)
            if not data:
                raise ConnectionResetError("the server closed the connection")
            parser.feed_data(data)
        return parser.get_status_code(), b"".join(self._body)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._whole = True


def _requests(load: Load) -> Iterator[tuple[float, bytes]]:
    """Yield requests without end, each with the seconds after the start when it is due."""
    for n in count():
        number = str(load.first + (n % load.numbers if load.numbers else n))
        body = load.body.replace("<n>", number)
        head = [f"{load.method} {load.path.replace('<n>', number)} HTTP/1.1", "Host: 127.0.0.1"]
        if load.token:
            head.append(f"Authorization: Bearer {load.token}")
        if body:
            head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        due = n / load.rate if load.rate else 0.0
        yield due, ("\r\n".join(head) + "\r\n\r\n" + body).encode()


class _Run:
    def __init__(self, load: Load) -> None:
        self._load = load
        self._requests = _requests(load)
        self._lock = threading.Lock()
        self._latencies: list[float] = []
        self._failures: list[str] = []
        self._calls = 0
        context = ssl.create_default_context(cafile=load.ca)
        connections = [_Connection(load, context) for _ in range(load.concurrency)]
        self._threads = [threading.Thread(target=self._work, args=(c,)) for c in connections]

    def outcome(self) -> Outcome:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()
        seconds = time.monotonic() - self._began - WARM_SECONDS
        used = resource.getrusage(resource.RUSAGE_SELF)
        return Outcome(
            seconds,
            tuple(sorted(self._latencies)),
            tuple(self._failures[:SHOWN_FAILURES]),
            used.ru_utime + used.ru_stime,
            self._calls,
        )

    def _work(self, connection: _Connection) -> None:
        expected = self._load.expect.encode()
        warm = self._began + WARM_SECONDS
        left = 0 if self._load.rate else LEAST_CALLS
        while (began := time.monotonic()) < warm + self._load.seconds or left > 0:
            with self._lock:
                due, request = next(self._requests)
            if self._load.rate:
                time.sleep(max(0.0, self._began + due - began))
                began = self._began + due
            status, body = connection.call(request)
            took = time.monotonic() - began
            if status == 429 and self._load.may_refuse:
                time.sleep(1)
                continue
            self._calls += 1
            if status != 200 or expected not in body:
                self._failures.append(f"HTTP {status}: {body[:300].decode(errors='replace')}")
                return
            if began >= warm:
                self._latencies.append(took * 1000)
                left -= 1


def main() -> None:
    load = Load(**json.loads(sys.stdin.read()))
    print(json.dumps(asdict(_Run(load).outcome())))


if __name__ == "__main__":
    main()
