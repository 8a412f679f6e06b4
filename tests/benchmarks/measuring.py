"""Measures one figure: a load on the API, the same load on a bare view, and the same statements by
pgbench. They alternate, so that other load of the machine affects all of them.
"""

from dataclasses import dataclass, replace

from tests.benchmarks import data, load, pgbench, processes
from tests.benchmarks.load import Load, Outcome
from tests.benchmarks.system import System

SHOWN_CPU = ("API", "HAProxy of API", "PostgreSQL", "nodes")


@dataclass(frozen=True)
class Figure:
    """Calls per second of the API, the bare view and pgbench (None: not measured), and latencies in
    milliseconds. ``cpu``: milliseconds for each call, by process.
    """

    name: str
    concurrency: int
    per_second: float
    p50: float
    p95: float
    p99: float
    bare: float
    transactions: float | None
    cpu: dict[str, float]

    @property
    def of_bare(self) -> float:
        return self.per_second / self.bare

    @property
    def of_pgbench(self) -> float | None:
        return self.per_second / self.transactions if self.transactions else None


class Meter:
    """Measures figures. ``seconds``: the duration of each load in each round."""

    def __init__(self, system: System, seconds: float, rounds: int) -> None:
        self.system = system
        self._rounds = rounds
        self.seconds = seconds
        self._numbers = 0

    def measure(self, name: str, wanted: Load, scripts: list[str]) -> Figure:
        used = dict.fromkeys(SHOWN_CPU, 0.0)
        ours: list[Outcome] = []
        bare: list[Outcome] = []
        transactions: list[float | None] = []
        for _ in range(self._rounds):
            before = self._cpu()
            ours.append(load.run(replace(wanted, first=self._first(wanted))))
            used = {name: used[name] + cpu - before[name] for name, cpu in self._cpu().items()}
            bare.append(load.run(self.bare(wanted.concurrency)))
            transactions.append(
                pgbench.per_second(
                    self.system, scripts, clients=wanted.concurrency, seconds=self.seconds
                )
            )
        whole = _joined(ours)
        rates = [rate for rate in transactions if rate is not None]
        return Figure(
            name,
            wanted.concurrency,
            whole.per_second,
            whole.percentile(50),
            whole.percentile(95),
            whole.percentile(99),
            bare=_joined(bare).per_second,
            transactions=sum(rates) / len(rates) if rates else None,
            cpu={name: seconds * 1000 / whole.calls for name, seconds in used.items()},
        )

    def load(self, method: str, path: str, body: str = "", **options: object) -> Load:
        """Return a load on the API, called as ADMIN."""
        usual = {"token": self.system.token, "seconds": self.seconds}
        values = {"port": self.system.port, "ca": self.system.ca} | usual | options
        return Load(method=method, path=path, body=body, **values)  # type: ignore[arg-type]

    def bare(self, concurrency: int) -> Load:
        return self.load(
            "GET",
            "/hosts/host-<n>",
            port=self.system.bare_port,
            token="",
            concurrency=concurrency,
            numbers=data.HOSTS,
            expect="host-",
        )

    def _first(self, wanted: Load) -> int:
        """Return the first number of a load whose numbers must not repeat those of earlier
        loads.
        """
        if wanted.numbers:
            return wanted.first
        self._numbers += 10**7
        return self._numbers

    def _cpu(self) -> dict[str, float]:
        services = self.system.services
        return {n: processes.cpu_seconds(services[n].running.pid) for n in SHOWN_CPU}


def _joined(outcomes: list[Outcome]) -> Outcome:
    latencies = sorted(value for one in outcomes for value in one.latencies)
    return Outcome(
        sum(one.seconds for one in outcomes),
        tuple(latencies),
        (),
        sum(one.cpu_seconds for one in outcomes),
        sum(one.calls for one in outcomes),
    )
