"""The metrics that Prometheus scrapes from the production form, without load and after faults."""

import datetime as dt
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from inventory.nodes.engines.simulated import SimulatedFleet
from provisioner import certificates
from tests.programs import tool
from tests.system.load import Client
from tests.system.stack import DEPLOY, Stack
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(900)
FIRST_JOBS_SECONDS = 180.0
SEEN_SECONDS = 180.0
BETWEEN_SCRAPES_SECONDS = 3.0
SPANS = {
    "PROBE_INTERVAL_SECONDS": "3",
    "POLL_INTERVAL_SECONDS": "1",
    "NODE_CHECK_INTERVAL_SECONDS": "2",
    "CERTIFICATE_CHECK_INTERVAL_SECONDS": "2",
}
ALERTS = DEPLOY / "prometheus" / "alerts.yml"

Scrape = dict[str, str]
"""What each process shows, by its URL; empty: it does not answer."""
Growth = Callable[[str, Metric, Sample], float]
"""By how much a sample of a process grows with each step."""


class System:
    """The production form with one node, with the metrics that Prometheus scrapes."""

    def __init__(self, held: ExitStack) -> None:
        self.stack = Stack(SPANS, each=1)
        held.callback(self.stack.stop)
        self.token = self.stack.tokens(1)[0]
        self.client = Client(self.stack, self.token)
        self._held = held
        self.node = self.add_node(*self.stack.certificates.node)
        workers = self.stack.metrics_urls[1:]
        eventually(
            lambda: any("provisioner_jobs_total{" in self.scrape()[url] for url in workers),
            seconds=FIRST_JOBS_SECONDS,
            what="a worker shows a job",
        )

    def add_node(self, certificate: Path, key: Path, prefix: str = "02:00:00") -> Any:
        fleet = self._held.enter_context(
            SimulatedFleet(
                1,
                certificate=certificate,
                key=key,
                ca=self.stack.ca,
                require_client_certificate=True,
                id_prefix=prefix,
            )
        )
        [node] = fleet.nodes
        body = {"mgmtIPs": [node.address], "mgmtPort": node.port}
        self.client.call("POST", "/backends", body)
        return node

    def create(self, alias: str, tenant: str = "") -> str:
        """Create a volume. Returns its uuid."""
        path = f"/{tenant}/volumes" if tenant else "/volumes"
        self.client.call("POST", path, {"alias": alias, "uuid": alias, "capacity": 10})
        return alias

    def scrape(self) -> Scrape:
        headers = {"Authorization": f"Bearer {self.token}"}
        found = {}
        for url in self.stack.metrics_urls:
            try:
                answer = urllib3.request("GET", url, headers=headers, timeout=30, retries=False)
            except urllib3.exceptions.HTTPError:
                found[url] = ""
            else:
                assert answer.status == 200, answer.data
                found[url] = answer.data.decode()
        return found

    def series(self, scraped: Scrape, growth: Growth, steps: int) -> list[dict[str, str]]:
        """Return the series in the format of promtool: the scraped metrics of each process, and
        whether it answered.
        """
        found = []
        for number, (url, text) in enumerate(scraped.items()):
            job = "provisioner" if number < len(self.stack.apis) else "provisioner-workers"
            of_process = {"job": job, "instance": str(number)}
            found.append(_one("up", of_process, f"{int(bool(text))}+0x{steps}"))
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    # Prometheus would store such a label under another name
                    assert not sample.labels.keys() & of_process, sample.name
                    value = sample.value
                    if sample.name.endswith("_timestamp_seconds"):
                        value -= time.time()  # promtool's clock begins at 0
                    values = f"{value}+{growth(url, family, sample)}x{steps}"
                    found.append(_one(sample.name, sample.labels | of_process, values))
        return found

    def alerts(self, folder: Path) -> set[str]:
        """Return the alerts that fire if the present state lasts for an hour, and increasing values
        continue to increase. promtool reports each alert that was not expected, and the test
        expects none.
        """
        before, began = self.scrape(), time.monotonic()
        time.sleep(BETWEEN_SCRAPES_SECONDS)
        after, minutes = self.scrape(), (time.monotonic() - began) / 60
        known = {
            (url, sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for url, text in before.items()
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

        def growth(url: str, family: Metric, sample: Sample) -> float:
            value = known.get((url, sample.name, tuple(sorted(sample.labels.items()))))
            grows = family.type in {"counter", "histogram"} and value is not None
            return (sample.value - value) / minutes if grows and value is not None else 0.0

        rules = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
        tests = [
            {"eval_time": "1h", "alertname": rule["alert"], "exp_alerts": []} for rule in rules
        ]
        group = {
            "interval": "1m",
            "input_series": self.series(after, growth, 60),
            "alert_rule_test": tests,
        }
        content = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [group]}
        said = _promtool(content, folder)
        assert "FAILED" in said or "SUCCESS" in said, said
        return set(re.findall(r"alertname: (\w+), time: 1h", said))


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    tool("haproxy")
    with ExitStack() as held:
        yield System(held)


def test_workers_show_metrics_of_jobs_but_not_of_volumes(system: System) -> None:
    for text in list(system.scrape().values())[1:]:
        assert "# HELP provisioner_jobs_total" in text
        assert "uuid=" not in text


def test_each_panel_has_data(system: System, tmp_path: Path) -> None:
    """promtool evaluates each panel with the scraped metrics. It reports each result that was not
    expected, and the test expects none.
    """
    dashboard = json.loads((DEPLOY / "grafana/dashboards/provisioner.json").read_text())
    asked = [t["expr"] for panel in dashboard["panels"] for t in panel.get("targets", ())]
    tests = [{"expr": text, "eval_time": "4m"} for text in asked]

    def growth(_: str, family: Metric, __: Sample) -> float:
        return float(family.type in {"counter", "histogram"})

    series = system.series(system.scrape(), growth, 20)
    group = {"interval": "15s", "input_series": series, "promql_expr_test": tests}
    said = _promtool({"tests": [group]}, tmp_path)
    shown = set(re.findall(r'expr: "(.*)", time: 4m,', said))
    assert shown, said
    assert [text for text in asked if text.replace('"', '\\"') not in shown] == []


def test_an_idle_hour_raises_no_alert(system: System, tmp_path: Path) -> None:
    system.create("quiet")
    assert system.alerts(tmp_path) == set()


def test_faults_raise_their_alerts(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This is the last test of this system, because nothing is repaired."""
    monkeypatch.setattr(certificates, "LEAF_LIFE", dt.timedelta(days=13))
    certificate, key = system.stack.authority.node("short-lived", ["127.0.0.1"])
    second = system.add_node(certificate, key, "02:00:01")
    budget = {"name": "t", "capacity": 10, "totalIOPS": 0, "totalBW": 0}
    answer = system.client.call("POST", "/tenants", budget)
    on_first = [system.create("lost"), system.create("full", answer["tenantId"])]
    holders = [node for node in (system.node, second) if "lost" in node.volumes()]
    [holder] = holders
    holder.lose(on_first[0])
    system.stack.workers[0].kill()

    def shows(*texts: str) -> Callable[[], bool]:
        return lambda: all(re.search(text, next(iter(system.scrape().values()))) for text in texts)

    certificate_ends = r"(?m)^provisioner_certificate_end_\w+\{.*02:00:01"
    missing = r"(?m)^provisioner_missing_replicas\{.*yes"
    eventually(shows(certificate_ends, missing), seconds=SEEN_SECONDS, what="both are seen")
    second.faults.go_down()
    down = r"(?m)^ks_node_state\{.* 2\.0$"
    eventually(shows(down), seconds=SEEN_SECONDS, what="the node is Unavailable")
    assert system.alerts(tmp_path) >= {
        "CertificateEnds",
        "DataLost",
        "LastReplicaMissing",
        "NodeUnavailable",
        "TenantBudgetNearlyUsed",
        "VolumesFaulted",
        "WorkerDown",
    }
    system.stack.apis[0].kill()
    assert "ApiDown" in system.alerts(tmp_path)


def _one(name: str, labels: dict[str, str], values: str) -> dict[str, str]:
    text = ",".join(f"{label}={json.dumps(value)}" for label, value in labels.items())
    return {"series": f"{name}{{{text}}}", "values": values}


def _promtool(content: dict[str, Any], folder: Path) -> str:
    """Return the output of promtool for a file with tests of rules."""
    path = folder / "tests.yml"
    path.write_text(yaml.safe_dump(content))
    done = subprocess.run(
        [tool("promtool"), "test", "rules", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout + done.stderr
