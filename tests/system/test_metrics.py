"""What Prometheus finds in the production form while nobody does anything, and Grafana shows."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
import yaml
from prometheus_client.parser import text_string_to_metric_families

from inventory.nodes.engines.simulated import SimulatedFleet
from tests.programs import tool
from tests.system.load import Client
from tests.system.stack import DEPLOY, Stack
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(180)
FIRST_JOBS_SECONDS = 60.0
STEPS = 20
"""Of 15 s, in which counters grow by one each."""


@pytest.fixture(scope="module")
def scraped() -> Iterator[list[str]]:
    """All series, of APIs and workers, of a system with one node."""
    tool("haproxy")
    stack = Stack(each=1)
    try:
        token = stack.tokens(1)[0]
        certificate, key = stack.certificates.node
        with SimulatedFleet(
            1, certificate=certificate, key=key, ca=stack.ca, require_client_certificate=True
        ) as fleet:
            [node] = fleet.nodes
            body = {"mgmtIPs": [node.address], "mgmtPort": node.port}
            Client(stack, token).call("POST", "/backends", body)
            workers = stack.metrics_urls[len(stack.apis) :]
            eventually(
                lambda: any("provisioner_jobs_total{" in scrape(url) for url in workers),
                seconds=FIRST_JOBS_SECONDS,
                what="a worker shows a job",
            )
            yield [scrape(url, token) for url in stack.metrics_urls]
    finally:
        stack.stop()


def scrape(url: str, token: str = "") -> str:
    headers = {"Authorization": f"Bearer {token}"}
    answer = urllib3.request("GET", url, headers=headers if token else None, timeout=30)
    assert answer.status == 200, answer.data
    return answer.data.decode()


def test_workers_show_jobs_and_no_tenants_volumes(scraped: list[str]) -> None:
    for text in scraped[2:]:
        assert "# HELP provisioner_jobs_total" in text
        assert "uuid=" not in text


def test_each_panel_has_data(scraped: list[str], tmp_path: Path) -> None:
    """promtool evaluates it over what was scraped: it tells of each result that was not foreseen,
    and none is.
    """
    dashboard = json.loads((DEPLOY / "grafana/dashboards/provisioner.json").read_text())
    asked = [t["expr"] for panel in dashboard["panels"] for t in panel.get("targets", ())]
    tests = [{"expr": text, "eval_time": "4m"} for text in asked]
    rules = tmp_path / "test.yml"
    group = {"interval": "15s", "input_series": series(scraped), "promql_expr_test": tests}
    rules.write_text(yaml.safe_dump({"tests": [group]}))
    done = subprocess.run(
        [tool("promtool"), "test", "rules", str(rules)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    said = done.stdout + done.stderr
    shown = set(re.findall(r'expr: "(.*)", time: 4m,', said))
    assert shown, said
    assert [text for text in asked if text.replace('"', '\\"') not in shown] == []


def series(scraped: list[str]) -> list[dict[str, str]]:
    """As promtool takes them: what was scraped, of each process, and that it answered."""
    found = []
    for number, text in enumerate(scraped):
        job = "provisioner" if number < 2 else "provisioner-workers"
        of_process = {"job": job, "instance": str(number)}
        found.append(one("up", of_process, f"1+0x{STEPS}"))
        for family in text_string_to_metric_families(text):
            grows = family.type in {"counter", "histogram"}
            for sample in family.samples:
                values = f"{sample.value}+{int(grows)}x{STEPS}"
                found.append(one(sample.name, sample.labels | of_process, values))
    return found


def one(name: str, labels: dict[str, str], values: str) -> dict[str, str]:
    text = ",".join(f"{label}={json.dumps(value)}" for label, value in labels.items())
    return {"series": f"{name}{{{text}}}", "values": values}
