"""The files of deploy/, read by the programs that they are for."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from provisioner.environment import Environment, variable_name
from tests import pages
from tests.programs import tool

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
WORKERS = ("worker-1", "worker-2", "periodic-1", "periodic-2")
COMMON = ("api-1", "api-2", *WORKERS, "beat-1", "beat-2", "migrate")


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

    def test_only_the_balancer_is_believed(self, services: dict[str, Any]) -> None:
        """Prometheus and others are on the same network."""
        address = services["haproxy"]["networks"]["inside"]["ipv4_address"]
        assert services["api-1"]["environment"]["TRUSTED_PROXIES"] == address

    def test_prometheus_asks_each_process_where_it_answers(self, services: dict[str, Any]) -> None:
        configuration = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
        api, workers = yaml.safe_load(configuration)["scrape_configs"]
        port = services["worker-1"]["environment"]["WORKER_METRICS_PORT"]
        assert api["static_configs"] == [{"targets": ["api-1:30100", "api-2:30100"]}]
        assert workers["static_configs"] == [{"targets": [f"{name}:{port}" for name in WORKERS]}]
        mounted = [volume.split(":")[-2] for volume in services["prometheus"]["volumes"][:2]]
        assert api["basic_auth"]["password_file"] in mounted
        assert "METRICS_OPEN" not in services["api-1"]["environment"]

    def test_the_page_hands_out_each_file_that_a_container_reads(self) -> None:
        text = (DEPLOY / "compose.yaml").read_text()
        read = set(re.findall(r"(?:/tls|see .env.example\})/([\w-]+(?:\.pem)?)", text))
        [block] = [b.text for b in pages.blocks() if b.text.startswith("docker build")]
        installed = re.findall(r"(?m)^ *install -m .* \S*?([\w.-]+) deploy/tls(?:/(\S+))?$", block)
        assert read == {target or name for name, target in installed}

    def test_docker_compose_reads_it(self, tmp_path: Path) -> None:
        """With the variables of .env.example and one of docs/settings.md, which goes through."""
        shutil.copy(DEPLOY / "compose.yaml", tmp_path)
        example = (DEPLOY / ".env.example").read_text()
        filled = re.sub(r"(?m)^(\w+)=$", r"\1=something", example)
        (tmp_path / ".env").write_text(f"{filled}DATA_KEYS=one-key\n")
        command = [tool("docker-compose"), "-f", tmp_path / "compose.yaml"]
        command += ["--project-directory", tmp_path, "config"]
        done = passes(*command, environment={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})
        read = yaml.safe_load(done)["services"]
        for name in COMMON:
            assert read[name]["environment"]["DATA_KEYS"] == "one-key"


class TestForms:
    """compose, systemd and Kubernetes start the same, and give it the same time to end."""

    COMMANDS: ClassVar = {
        "api": "gunicorn -c deploy/gunicorn.conf.py",
        "worker": "celery -A provisioner worker --queues=celery --pool=threads --concurrency=8",
        "periodic": "celery -A provisioner worker --queues=periodic --pool=threads "
        "--concurrency=12",
        "beat": "celery -A provisioner beat",
    }

    @pytest.fixture
    def stop_seconds(self) -> int:
        """What a stop takes at most, by the defaults and by what the forms set."""
        default = Environment.model_fields["stop_seconds"].default
        return int(default) + 5

    @pytest.mark.parametrize("role", COMMANDS)
    def test_systemd(self, role: str, stop_seconds: int) -> None:
        [unit] = (DEPLOY / "systemd").glob(f"provisioner-{role}*.service")
        text = unit.read_text()
        started = text.partition("ExecStart=/opt/provisioner/.venv/bin/")[2].partition("\n")[0]
        assert started.startswith(self.COMMANDS[role])
        assert int(text.partition("TimeoutStopSec=")[2].split()[0]) > stop_seconds

    @pytest.mark.parametrize("role", COMMANDS)
    def test_compose(self, role: str, stop_seconds: int) -> None:
        service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"][f"{role}-1"]
        if role == "api":
            image = (DEPLOY / "Dockerfile").read_text().splitlines()[-1].removeprefix("CMD ")
            assert " ".join(json.loads(image)) == self.COMMANDS[role]
        else:
            assert " ".join(service["command"]) == self.COMMANDS[role]
        assert service["environment"]["UNREADY_SECONDS"] == 5
        assert int(service["stop_grace_period"].removesuffix("s")) > stop_seconds

    @pytest.mark.parametrize("role", COMMANDS)
    def test_kubernetes(self, role: str, stop_seconds: int) -> None:
        [deployment] = [
            each
            for each in yaml.safe_load_all((KUBERNETES / f"{role}.yaml").read_text())
            if each["kind"] == "Deployment"
        ]
        pod = deployment["spec"]["template"]["spec"]
        [container] = pod["containers"]
        assert " ".join(container["command"]) == self.COMMANDS[role]
        assert pod["terminationGracePeriodSeconds"] > stop_seconds
        assert deployment["spec"]["replicas"] == 2
