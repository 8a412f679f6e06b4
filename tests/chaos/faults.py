"""Causes and ends faults. Only the main thread may use it, because processes end with the thread
that started them.
"""

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import urllib3

from tests.chaos.caller import Caller, CallResult
from tests.chaos.losses import UNREACHABLE, Losses
from tests.chaos.schedule import Fault, Kind
from tests.chaos.settling import unfinished
from tests.chaos.system import System

RECOVERED_SECONDS = 90.0
"""A task whose message was lost or whose worker died begins anew when its lease (30 s) is over,
found by a beat that may have to take over first (15 s); and faults overlap."""
FINISHED_SECONDS = 150.0
"""Of tasks that other faults hit, too."""
CANNOT_START = "provisioner: cannot start: the database cannot be used"
LOOK_SECONDS = 0.3
LATE_SECONDS = 5.0
SLOW_MS = 1500
WITHOUT_END: dict[str, object] = {"times": 0}
OF_CALLS: dict[Kind, dict[str, object]] = {
    Kind.SLOW_NODE: {"kind": "SLOW", "milliseconds": SLOW_MS},
    Kind.LOSE_REPLIES: {"kind": "LOSE_REPLY"},
    Kind.LOSE_REQUESTS: {"kind": "LOSE_REQUEST"},
}
BY_A_TASK = {Kind.KILL_WORKER, Kind.STOP_BEAT, Kind.FLUSH_REDIS}
"""Recovered when a task is worked off; nodes: when they are Available; else: when a call is
answered."""


class Faults:
    """Causes and ends faults, and measures the time in seconds from the end of each fault, by kind.

    ``recoveries``: until the API, a task or the node worked again. ``settlings``: until everything
    that was unfinished at that time was finished.
    """

    def __init__(self, system: System, caller: Caller) -> None:
        self._system = system
        self._stack = system.stack
        self._caller = caller
        self._losses = Losses(system)
        self._down: set[int] = set()
        self._watching: list[threading.Thread] = []
        self._drains: dict[int, threading.Thread] = {}
        self._look = threading.Lock()
        self._seen: set[str] = set()
        self._seen_at = 0.0
        self._at_once = {
            Kind.FLUSH_REDIS: self._stack.redis.flush,
            Kind.RENEW_CERTIFICATES: system.renew_certificates,
        }
        self.struck: Counter[Kind] = Counter()
        self.restarts = 0
        self.recoveries: dict[Kind, list[float]] = {}
        self.settlings: dict[Kind, list[float]] = {}
        self.findings: list[str] = []

    def strike(self, fault: Fault) -> None:
        if fault.kind in {Kind.LOSE_VOLUME, Kind.EMPTY_NODE}:
            self._lose(fault)
            return
        self.struck[fault.kind] += 1
        match fault.kind:
            case Kind.KILL_API | Kind.KILL_WORKER | Kind.STOP_BEAT:
                self._down.add(id(self._process(fault)))
                self._process(fault).kill()
            case Kind.FLUSH_REDIS | Kind.RENEW_CERTIFICATES:
                self._at_once[fault.kind]()
            case Kind.CRASH_POSTGRES:
                self._stack.postgres.running.send_signal(signal.SIGQUIT)
                self._stack.postgres.running.wait()
            case Kind.PARTITION:
                with contextlib.suppress(
                    urllib3.exceptions.ProtocolError
                ):  # this connection is cut off, too
                    self._system.node_faults(fault.victim, down=fault.seconds)
            case Kind.RESTART_NODE:
                self._try(fault, lambda: self._system.node(fault.victim, "POST", "/sim/restart"))
            case Kind.DRAIN_NODE:
                self._drains[fault.victim] = self._begin(self._drain, fault, "POST")
            case _:
                call = OF_CALLS[fault.kind] | WITHOUT_END
                self._try(fault, lambda: self._system.node_faults(fault.victim, call))

    def _lose(self, fault: Fault) -> None:
        """Cause a loss of data if enough other nodes have it. Which node loses data is decided only
        now.
        """
        lose = {
            Kind.LOSE_VOLUME: self._losses.lose_volume,
            Kind.EMPTY_NODE: self._losses.come_back_empty,
        }[fault.kind]
        with contextlib.suppress(*UNREACHABLE):
            self.struck[fault.kind] += lose(fault.victim)

    def end(self, fault: Fault) -> None:
        match fault.kind:
            case Kind.KILL_API | Kind.KILL_WORKER | Kind.STOP_BEAT:
                self._process(fault).start()
                self._down.discard(id(self._process(fault)))
            case Kind.CRASH_POSTGRES:
                self._stack.postgres.start()
                self._stack.postgres.ready()
            case Kind.SLOW_NODE | Kind.LOSE_REPLIES | Kind.LOSE_REQUESTS:
                self._try(fault, lambda: self._system.node_faults(fault.victim))
            case _:
                pass
        self._watching.append(self._begin(self._watch, fault))

    def supervise(self) -> None:
        """Start processes again that have ended by themselves, as systemd would. A beat may end: it
        does so when its lock in Redis is lost. Others may only refuse to start, without a database.
        """
        for service in self._system.services:
            if id(service) not in self._down and service.running.poll() is not None:
                self.restarts += 1
                refused = CANNOT_START in service.log.read_text(errors="replace")[-1000:]
                if service not in self._stack.beats and not refused:
                    self.findings.append(f"{service.log.stem} ended by itself")
                service.start()

    def wait(self) -> None:
        """Wait until the system has recovered from every fault."""
        for watcher in self._watching:
            while watcher.is_alive():
                self.supervise()
                watcher.join(0.2)

    def _process(self, fault: Fault) -> Any:
        group = {
            Kind.KILL_API: self._stack.apis,
            Kind.KILL_WORKER: [*self._stack.workers, *self._stack.periodic],
            Kind.STOP_BEAT: self._stack.beats,
        }[fault.kind]
        return group[fault.victim]

    def _begin(self, work: Callable[..., object], *arguments: object) -> threading.Thread:
        """Run the work in a thread. The main thread must not wait for an answer, because only the
        main thread ends faults.
        """
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()
        return thread

    def _try(self, fault: Fault, action: Callable[[], object]) -> None:
        """Start or end a fault. A partition of a node that began late also ends late."""
        end = time.monotonic() + LATE_SECONDS
        while True:
            try:
                action()
                return
            except urllib3.exceptions.HTTPError as error:
                if time.monotonic() > end:
                    self.findings.append(f"the harness could not {fault.kind}: {error}")
                    return
                time.sleep(0.1)

    def _drain(self, fault: Fault, method: str) -> CallResult:
        node = self._system.nodes[fault.victim][0]
        operation = "drain" if method == "POST" else "stop a drain"
        return self._caller.call(operation, method, f"/backends/{node}/drain")

    def _watch(self, fault: Fault) -> None:
        if fault.kind is Kind.DRAIN_NODE:
            self._drains[fault.victim].join()
        began = time.monotonic()
        left = self._unfinished()
        self._until(RECOVERED_SECONDS, lambda: self._is_well(fault), fault, began, self.recoveries)
        finished = partial(self._none_of, left)
        self._until(FINISHED_SECONDS, finished, fault, began, self.settlings)

    def _until(
        self,
        seconds: float,
        true: Callable[[], bool],
        fault: Fault,
        began: float,
        spans: dict[Kind, list[float]],
    ) -> None:
        while not true():
            if time.monotonic() - began > seconds:
                self.findings.append(f"after: {fault.kind} {fault.victim}: not well in {seconds} s")
                return
            time.sleep(0.3)
        spans.setdefault(fault.kind, []).append(time.monotonic() - began)

    def _none_of(self, left: set[str]) -> bool:
        return not left & self._unfinished()

    def _unfinished(self) -> set[str]:
        """Return what is unfinished. All watchers share one query: there are dozens, and only
        faults should slow down the system.
        """
        with self._look:
            while time.monotonic() - self._seen_at > LOOK_SECONDS:
                try:
                    self._seen, self._seen_at = set(unfinished(self._system)), time.monotonic()
                except psycopg.OperationalError:
                    time.sleep(0.2)  # another fault affects the database
            return self._seen

    def _is_well(self, fault: Fault) -> bool:
        if fault.kind is Kind.DRAIN_NODE and self._drain(fault, "DELETE").unknown:
            return False
        if fault.is_of_node:
            rows = self._caller.read(f"/backends/{self._system.nodes[fault.victim][0]}")
            return bool(rows) and rows[0]["state"] == "Available"
        if fault.kind in BY_A_TASK:
            started = self._caller.read("/inventory")
            return started is not None and self._ends(started["taskId"])
        return bool(self._caller.read("/tenants"))

    def _ends(self, task: str) -> bool:
        end = time.monotonic() + RECOVERED_SECONDS
        while time.monotonic() < end:
            tasks = self._caller.read(f"/tasks?taskId={task}") or []
            if any(row["state"] == "FINISHED" for row in tasks):
                return True
            if any(row["state"] == "FAILED" for row in tasks):
                return False
            time.sleep(0.5)
        return False
