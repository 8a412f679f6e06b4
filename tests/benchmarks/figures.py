"""The measured figures, part by part."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.benchmarks import data, large, limits, load, pgbench, processes
from tests.benchmarks.measuring import Figure, Meter
from tests.benchmarks.rebuild import rebuild
from tests.benchmarks.rhythm import Wanted, rhythms
from tests.benchmarks.system import System

SUCCESS = '"Success"'


@dataclass(frozen=True)
class Sizes:
    """The numbers of objects. The smoke test uses smaller ones."""

    concurrencies: tuple[int, ...] = (1, 8, 32)
    few_volumes: int = 1_000
    metrics_volumes: int = 10_000
    many_volumes: int = 100_000
    recordings: int = 10
    rounds: int = 2
    scrapes: int = 5
    # some systems allow 20,000 open files at most
    rhythms: tuple[Wanted, ...] = (Wanted(1_000), Wanted(2_000), Wanted(9_900, slower=10))
    rebuild_volumes: int = 1_000
    scale_hosts: int = 10_000
    scale_volumes: int = 1_000_000
    scale_tenants: int = 1_000
    scale_snapshots: int = 1_000
    scale_tasks: int = 100_000
    scale_calls: int = 30


@dataclass
class Results:
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, figure: Figure) -> None:
        """Add a figure, and show it at once, because a run takes minutes."""
        self.figures.append(figure)
        print(f"  {figure.name}, {figure.concurrency}: {figure.per_second:.0f}/s", flush=True)


def creates(system: System, meter: Meter, sizes: Sizes, results: Results) -> None:
    """Measure creates with one and with three replicas, at each concurrency, on an empty pool of
    real simulated nodes.
    """
    pgbench.recordable_keys(system)
    for replicas in (1, 3):
        numbers = range(sizes.recordings)
        scripts = [pgbench.create_script(system, n, replicas) for n in numbers]
        body = '{"alias":"b%d-<n>","capacity":1,"storageClass":{"numReplicas":%d}}'
        for concurrency in sizes.concurrencies:
            load = meter.load(
                "POST",
                "/volumes",
                body % (replicas, replicas),
                concurrency=concurrency,
                expect=SUCCESS,
            )
            results.add(meter.measure(f"create, {_replicas(replicas)}", load, scripts))
    data.clear(system)


def _replicas(number: int) -> str:
    return "1 replica" if number == 1 else f"{number} replicas"


def hosts(system: System, meter: Meter, sizes: Sizes, results: Results) -> None:
    path = "/tasks?hostId=host-<n>"
    scripts = [
        pgbench.read_script(system, path.replace("<n>", str(n))) for n in range(sizes.recordings)
    ]
    for name, wanted in (
        (f"{data.HOSTS:,} hosts", meter.load("GET", path, numbers=data.HOSTS, expect="[")),
        ("none has a task", meter.load("GET", f"{path}5", numbers=data.HOSTS // 10, expect="[]")),
    ):
        load.run(wanted)  # from now on, processes have cached answers
        results.add(meter.measure(f"GET /tasks?hostId=, {name}", wanted, scripts))
    probes = [data.PROBE.replace("<n>", str(n)) for n in range(sizes.recordings)]
    scripts = [pgbench.write_script(system, "/host_probe", json.loads(probe)) for probe in probes]
    wanted = meter.load("POST", "/host_probe", data.PROBE, numbers=data.HOSTS, expect=SUCCESS)
    load.run(wanted)
    results.add(meter.measure(f"host_probe, {data.HOSTS:,} hosts", wanted, scripts))


def hosts_rhythm(system: System, meter: Meter, sizes: Sizes, results: Results) -> None:
    """Measure hosts at the rhythm of the real agent, in a pool with 100,000 volumes."""
    data.hosts(system, max(sizes.rhythms).hosts)
    data.nodes(system)
    data.volumes(system, sizes.many_volumes)
    for found in rhythms(system, meter, sizes.rhythms):
        number, slower = found.wanted
        rhythm = "their rhythm" if slower == 1 else f"a rhythm {slower} times as slow"
        cores = ", ".join(f"{name} {used:.2f}" for name, used in found.cores.items())
        results.notes.append(
            f"{number:,} hosts at {rhythm}: poll p50 {found.poll_p50:.1f} ms, p99 "
            f"{found.poll_p99:.1f} ms, {found.refused} refused; other calls p99 "
            f"{found.other_p99:.1f} ms; cores: {cores}; HAProxy has {found.haproxy_mib:.0f} MiB"
        )


def dead_node(system: System, meter: Meter, sizes: Sizes, results: Results) -> None:
    """Measure the replacement of all replicas of a node."""
    found = rebuild(system, meter, sizes.rebuild_volumes)
    shown = [
        f"{name} p95 {before:.1f} ms before, {during:.1f} ms meanwhile"
        for name, (before, during) in (("creates", found.creates), ("polls", found.polls))
    ]
    results.notes.append(
        f"a node with {found.replicas:,} replicas dies: the first replacement starts "
        f"{found.first:.0f} s after they are due, the last ends after {found.last:.0f} s, at most "
        f"{found.most_at_once} at once; {'; '.join(shown)}"
    )


def pages(system: System, meter: Meter, sizes: Sizes, results: Results) -> None:
    """Measure pages of 100 volumes at random positions. A marker is the beginning of a uuid."""
    data.nodes(system)
    for number in (sizes.few_volumes, sizes.many_volumes):
        data.volumes(system, number)
        paths = [f"/volumes?limit=100&marker={10 + 4 * n}" for n in range(sizes.recordings)]
        scripts = [pgbench.read_script(system, path) for path in paths]
        load = meter.load(
            "GET", "/volumes?limit=100&marker=<n>", first=10, numbers=80, expect='"alias"'
        )
        results.add(meter.measure(f"page of 100 of {number:,} volumes", load, scripts))


def metrics(system: System, meter: Meter, sizes: Sizes, results: Results) -> None:
    """Measure scrapes, and the memory that API processes use for them."""
    data.nodes(system)
    data.volumes(system, sizes.metrics_volumes)
    scripts = [pgbench.read_script(system, "/metrics")]
    load = meter.load("GET", "/metrics", concurrency=1, expect="ks_vol_capacity_bytes{")
    name = f"/metrics, {data.NODES:,} nodes, {sizes.metrics_volumes:,} volumes"
    results.add(meter.measure(name, load, scripts))
    for number in (sizes.few_volumes, sizes.metrics_volumes):
        data.volumes(system, number)
        seconds, before, peak = _scraped(system, sizes.scrapes)
        results.notes.append(
            f"/metrics at {number:,} volumes: {seconds:.2f} s (median of {sizes.scrapes}); all API "
            f"processes together have {before:.0f} MiB before, {peak:.0f} MiB at their peaks"
        )


def scale(system: System, meter: Meter, sizes: Sizes, results: Results) -> None:
    """Measure one call at a time with the largest pool."""
    data.hosts(system, sizes.scale_hosts)
    data.nodes(system)
    data.volumes(system, sizes.scale_volumes)
    data.more(
        system,
        tenants=sizes.scale_tenants,
        snapshots=sizes.scale_snapshots,
        tasks=sizes.scale_tasks,
    )
    for name, middle, worst, mib in large.calls(system, sizes.scale_calls):
        results.notes.append(
            f"{name} with {sizes.scale_volumes:,} volumes: p50 {middle:.0f} ms, p99 {worst:.0f} "
            f"ms; the API processes have {mib:.0f} MiB at their peaks"
        )


def _scraped(system: System, scrapes: int) -> tuple[float, float, float]:
    """Return the median seconds, and the MiB of all API processes together: before, and at the
    peak.
    """
    workers = list(processes.children(system.services["API"].running.pid))
    for worker in workers:
        processes.forget_peak(worker)
    before = sum(map(processes.peak_mib, workers))
    took = []
    for _ in range(scrapes):
        began = time.monotonic()
        system.call("GET", "/metrics")
        took.append(time.monotonic() - began)
    return sorted(took)[scrapes // 2], before, sum(map(processes.peak_mib, workers))


def lists(system: System, meter: Meter, sizes: Sizes, results: Results) -> None:
    """Measure a list of all volumes, and the effect of many lists on other callers."""
    data.nodes(system)
    data.volumes(system, sizes.many_volumes)
    for _ in range(2):  # memory that a process allocates only once is then allocated
        found = limits.listed(system)
    results.notes.append(
        f"GET /volumes of {found.volumes:,}: first byte after {found.first_byte_ms:.0f} ms, the "
        f"last after {found.seconds:.1f} s; all API processes together have "
        f"{found.mib_before:.0f} MiB before, {found.mib_peak:.0f} MiB at their peaks"
    )
    alone, beside = limits.others_p95(system, meter, sizes.rounds)
    results.notes.append(
        f"p95 of another tenant's poll: {alone:.1f} ms; while one caller has {limits.LISTS} such "
        f"lists under way {beside:.1f} ms, {beside / alone:.2f} times"
    )


def limits_cost(system: System, meter: Meter, sizes: Sizes, results: Results) -> None:
    """Measure the cost of the limits in one thread, alternating with and without them."""
    with_turns, without = limits.cost(system)
    results.notes.append(
        f"a poll takes {with_turns:.2f} ms of CPU in Django with turns of callers, "
        f"{without:.2f} ms without: {100 * (with_turns / without - 1):.1f} % more"
    )


Part = Callable[[System, Meter, Sizes, Results], None]
PARTS: dict[str, Part] = {
    "creates": creates,
    "rebuild": dead_node,
    "hosts": hosts,
    "pages": pages,
    "metrics": metrics,
    "lists": lists,
    "limits": limits_cost,
    "rhythm": hosts_rhythm,
    "scale": scale,
}
UNASKED = [name for name in PARTS if name not in ("rebuild", "rhythm", "scale")]
"""The parts of a run that names none: the others take minutes each."""


def run(
    parts: Sequence[str], system: System, seconds: float, sizes: Sizes, results: Results
) -> None:
    """Measure the parts in the order of PARTS, because creates need nodes that answer, and the
    nodes that other parts insert do not.
    """
    meter = Meter(system, seconds, sizes.rounds)
    data.hosts(system)
    for name, part in PARTS.items():
        if name in parts:
            part(system, meter, sizes, results)
