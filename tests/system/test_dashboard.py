"""Grafana's dashboard and Prometheus' rules: every expression is valid, and its metrics exist."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django_prometheus.middleware import Metrics
from prometheus_client import REGISTRY, Metric

from tests.programs import tool
from tests.system.deploy_steps import DEPLOY, passes

GRAFANA = DEPLOY / "grafana"
METRICS = (DEPLOY.parent / "docs/reference/metrics.md").read_text()


def alert_expressions() -> list[str]:
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def test_no_metric_has_a_label_that_prometheus_sets() -> None:
    """Prometheus would store it under another name."""
    labels = re.findall(r"(?m)^\| `[^|]*\| ([\w, ]+) \|", METRICS)
    assert "name, outcome" in labels
    assert {"job", "instance"} & {name for row in labels for name in row.split(", ")} == set()


class TestDashboard:
    @pytest.fixture
    def dashboard(self) -> dict[str, Any]:
        return dict(json.loads((GRAFANA / "dashboards" / "provisioner.json").read_text()))

    @pytest.fixture
    def expressions(self, dashboard: dict[str, Any]) -> list[str]:
        return [t["expr"] for panel in dashboard["panels"] for t in panel.get("targets", ())]

    def test_expressions_are_valid_promql(self, expressions: list[str], tmp_path: Path) -> None:
        rules = [{"record": f"panel:{n}", "expr": text} for n, text in enumerate(expressions)]
        path = tmp_path / "rules.yml"
        path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
        passes(tool("promtool"), "check", "rules", path)

    def test_the_metrics_of_all_expressions_exist(self, expressions: list[str]) -> None:
        assert unknown_metrics(expressions) == []
        assert unknown_metrics(alert_expressions()) == []
        assert unknown_metrics(["max(ks_node_fre_iops)", "rate(django_http_x_total[5m])"]) != []

    def test_each_panel_uses_the_provisioned_datasource(self, dashboard: dict[str, Any]) -> None:
        loaded = yaml.safe_load((GRAFANA / "datasources" / "prometheus.yaml").read_text())
        [datasource] = loaded["datasources"]
        asked = [panel["datasource"] for panel in dashboard["panels"] if panel["type"] != "row"]
        assert asked == [{name: datasource[name] for name in ("type", "uid")}] * len(asked)

    def test_panels_do_not_overlap(self, dashboard: dict[str, Any]) -> None:
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(ids)) == len(ids)
        cells = [
            (x, y)
            for place in (panel["gridPos"] for panel in dashboard["panels"])
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert len(set(cells)) == len(cells)
        assert max(x for x, _ in cells) < 24

    def test_compose_mounts_the_files_that_the_provider_reads(self) -> None:
        compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
        provider = yaml.safe_load((GRAFANA / "dashboards" / "provider.yaml").read_text())
        [mounted] = [v for v in compose["grafana"]["volumes"] if v.startswith("./grafana:")]
        inside = mounted.split(":")[1]
        assert provider["providers"][0]["options"]["path"] == f"{inside}/dashboards"
        assert inside == "/etc/grafana/provisioning"
        assert (GRAFANA / "datasources").is_dir()


def unknown_metrics(expressions: list[str]) -> list[str]:
    """Return the names of metrics that are neither in the page of metrics nor exported by a process
    (django-prometheus).
    """
    names = set(re.findall(r"\b(?:ks|provisioner|django)_[a-z_]+", " ".join(expressions)))
    Metrics.get_instance()
    known = {name for family in REGISTRY.collect() for name in _names(family)}
    return [
        name
        for name in sorted(names)
        if (name not in known if name.startswith("django") else not _documented(name))
    ]


def _documented(name: str) -> bool:
    return f"`{name}`" in METRICS or f"`{name.removesuffix('_bucket')}`" in METRICS


def _names(family: Metric) -> list[str]:
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    return [family.name + ending for ending in endings.get(family.type, ("",))]
