"""The files of deploy/, read by the programs that they are for."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.environment import Environment, variable_name
from tests.programs import tool

DEPLOY = Path(__file__).parents[2] / "deploy"
METRICS = (DEPLOY.parent / "docs" / "metrics.md").read_text()
COMMON = ("api-1", "api-2", "worker-1", "worker-2", "beat-1", "beat-2", "migrate")


def passes(*command: object, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_prometheus() -> None:
    promtool = tool("promtool")
    passes(promtool, "check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    passes(promtool, "test", "rules", DEPLOY / "prometheus" / "alerts.test.yml")


def test_alerts_read_metrics_that_exist() -> None:
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    text = " ".join(rule["expr"] for group in groups for rule in group["rules"])
    names = set(re.findall(r"\b(?:ks|provisioner)_[a-z_]+", text))
    assert names
    assert [name for name in sorted(names) if f"`{name}`" not in METRICS] == []


def test_systemd_units(tmp_path: Path) -> None:
    verify = tool("systemd-analyze")
    for unit in sorted((DEPLOY / "systemd").iterdir()):
        text = unit.read_text()
        # the programs are not installed here: any program stands for them
        text = re.sub(r"/opt/provisioner/\.venv/bin/\w+", "/bin/true", text)
        (tmp_path / unit.name).write_text(text)
    said = passes(verify, "verify", tmp_path / "provisioner.target", *tmp_path.glob("*.service"))
    assert str(tmp_path) not in said


class TestCompose:
    @pytest.fixture
    def services(self) -> dict[str, Any]:
        loaded = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
        assert set(COMMON) < set(loaded)
        return dict(loaded)

    def test_settings_exist(self, services: dict[str, Any]) -> None:
        known = {variable_name(field) for field in Environment.model_fields}
        for name in COMMON:
            assert set(services[name]["environment"]) <= known

    def test_docker_compose_reads_it(self) -> None:
        lines = (DEPLOY / ".env.example").read_text().splitlines()
        names = [line.partition("=")[0] for line in lines if "=" in line and line[0] != "#"]
        environment = dict.fromkeys(names, "4") | {"TLS_DIR": "./tls", "PATH": "/usr/bin:/bin"}
        program = tool("docker-compose")
        passes(program, "-f", DEPLOY / "compose.yaml", "config", "-q", environment=environment)
