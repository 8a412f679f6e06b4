"""``python -m tests.chaos.run``: concurrent clients use the system while faults are caused.

The exit code is 1 if an error is found. docs/explanation/chaos-tests.md explains what this proves.
"""

import argparse
import heapq
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.chaos import report
from tests.chaos.caller import Caller
from tests.chaos.clients import Client
from tests.chaos.contents import Contents
from tests.chaos.faults import Faults
from tests.chaos.logs import unexpected_errors
from tests.chaos.oracle import Oracle
from tests.chaos.sampler import Sampler
from tests.chaos.schedule import Fault, Kind, schedule
from tests.chaos.settling import check, moves, settle, tasks
from tests.chaos.system import NODES, System
from tests.chaos.things import Place

CLIENTS = 8
TENANTS = 4
BUDGET_GIB = 250
BOUND_SECONDS = 600


@dataclass
class Outcome:
    seed: int
    folder: Path
    findings: list[str] = field(default_factory=list)
    text: str = ""


def run(
    *,
    seed: int,
    seconds: float,
    folder: Path,
    python_path: str = "",
    kinds: tuple[Kind, ...] = tuple(Kind),
    each: int = 2,
) -> Outcome:
    """Start the system, cause faults, wait until everything has settled, and compare. This takes
    one to four minutes more than ``seconds``.

    ``each``: the number of processes of each kind. Some kinds of faults need two.
    """
    outcome = Outcome(seed, folder)
    system = System(folder, each=each, python_path=python_path)
    try:
        _run(system, outcome, schedule(seed, seconds=seconds, nodes=NODES, kinds=kinds), seconds)
    finally:
        system.stop()
    return outcome


def _run(system: System, outcome: Outcome, planned: list[Fault], seconds: float) -> None:
    caller, oracle = Caller(system), Oracle()
    faults, sampler = Faults(system, caller), Sampler(system)
    contents = Contents(system.store)
    places = [_place(caller, number) for number in range(CLIENTS)]
    clients = [Client(caller, oracle, contents, place, outcome.seed) for place in places]
    sampler.start()
    for client in clients:
        client.start()
    strike(faults, planned, seconds)
    for client in clients:
        client.stop()
    for client in clients:
        while client.is_alive():
            faults.supervise()
            client.join(0.2)
    ended = time.monotonic()
    faults.wait()
    left = settle(system, faults.supervise)
    settled = time.monotonic() - ended
    sampler.stop()
    outcome.findings += [f"still unfinished: {text}" for text in left]
    outcome.findings += [*sampler.findings, *faults.findings, *check(system, caller, oracle)]
    outcome.findings += unexpected_errors(service.log for service in system.services)
    (outcome.folder / "objects.log").write_text(oracle.history())
    (outcome.folder / "tasks.log").write_text(tasks(system))
    tables = [
        report.operations(caller.counts),
        report.refusals(caller.counts),
        report.moves(moves(system)),
        report.recoveries(faults.struck, faults.recoveries, faults.settlings),
        f"  nothing unfinished {settled:.1f} s after the last client; {sampler.samples} samples of "
        f"budgets; {len(oracle.things)} objects; {faults.restarts} processes ended by themselves",
    ]
    outcome.text = "\n\n".join(tables)


def strike(faults: Faults, planned: list[Fault], seconds: float) -> None:
    """Begin and end each fault at its time."""
    number = count()
    due = [(fault.at, next(number), fault, False) for fault in planned]
    due += [(fault.ends_at, next(number), fault, True) for fault in planned]
    heapq.heapify(due)
    began = time.monotonic()
    while due or time.monotonic() - began < seconds:
        while due and due[0][0] <= time.monotonic() - began:
            _, _, fault, ends = heapq.heappop(due)
            if ends:
                faults.end(fault)
            else:
                faults.strike(fault)
        faults.supervise()
        time.sleep(0.05)


def _place(caller: Caller, number: int) -> Place:
    """Return the tenant and the host of the client. They are created if they do not exist."""
    tenant, host = f"t{number % TENANTS}", f"host-{number}"
    budget = {"name": tenant, "tenantId": tenant, "capacity": BUDGET_GIB}
    if number < TENANTS:
        made = caller.call("tenant", "POST", "/tenants", budget | {"totalIOPS": 0, "totalBW": 0})
        assert made.done, made
    probe = {
        "hostId": host,
        "hostNqn": f"nqn.2014-08.org.nvmexpress:uuid:{host}",
        "name": host,
        "clientType": "Agent",
        "version": "3.22",
        "duration": 86_400,
    }
    said = caller.call("host", "POST", "/host_probe", probe)
    assert said.done, said
    return Place(number, tenant, host)


def _too_long(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(f"chaos: not done in {BOUND_SECONDS} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--seconds", type=float, default=240)
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(BOUND_SECONDS)
    folder = Path(tempfile.mkdtemp(prefix="provisioner-chaos-"))
    print(f"chaos: seed {arguments.seed}, {arguments.seconds:.0f} s; logs: {folder}", flush=True)
    outcome = run(seed=arguments.seed, seconds=arguments.seconds, folder=folder)
    print(f"\n{outcome.text}\n")
    for finding in outcome.findings:
        print(f"  FOUND {finding}")
    print(f"chaos: {len(outcome.findings)} findings; seed {arguments.seed}; logs: {folder}")
    return 1 if outcome.findings else 0


if __name__ == "__main__":
    sys.exit(main())
