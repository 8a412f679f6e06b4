"""The files of deploy/ are valid for the programs that read them."""

import json
import re
import shutil
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from provisioner.environment import Environment, variable_name
from tests import pages
from tests.programs import tool
from tests.system import shipped
from tests.system.deploy_steps import DEPLOY, KUBERNETES, passes
from tests.system.units import Unit

WORKERS = ("worker-1", "worker-2", "periodic-1", "periodic-2")
MOST_EXPOSED = 20
"""In tenths."""
AS_ROOT = {"provisioner-linux-node-agent.service": 43}
"""Services that operate the kernel, and what they may do at most."""
COMMON = ("api-1", "api-2", *WORKERS, "beat-1", "beat-2", "migrate")


def test_prometheus_accepts_its_configuration_and_rules() -> None:
    promtool = tool("promtool")
    passes(promtool, "check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    passes(promtool, "test", "rules", DEPLOY / "prometheus" / "alerts.test.yml")


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    verify = tool("systemd-analyze")
    for unit in sorted((DEPLOY / "systemd").iterdir()):
        text = unit.read_text()
        # the programs are not installed here, so another program replaces them
        text = re.sub(r"/opt/provisioner/\.venv/bin/\w+", "/bin/true", text)
        (tmp_path / unit.name).write_text(text)
    said = passes(verify, "verify", tmp_path / "provisioner.target", *tmp_path.glob("*.service"))
    assert str(tmp_path) not in said


@pytest.mark.parametrize(
    "unit", sorted((DEPLOY / "systemd").glob("*.service")), ids=lambda unit: unit.name
)
def test_units_have_few_privileges(unit: Path) -> None:
    """systemd rates the privileges of a service: 0 means none, 10 means all."""
    measure = [tool("systemd-analyze"), "security", "--offline=true", "--no-pager"]
    passes(*measure, f"--threshold={AS_ROOT.get(unit.name, MOST_EXPOSED)}", unit)
    with pytest.raises(AssertionError):
        passes(*measure, "--threshold=1", unit)


class TestCompose:
    @pytest.fixture
    def services(self) -> dict[str, Any]:
        loaded = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
        assert set(COMMON) < set(loaded)
        return dict(loaded)

    def test_compose_sets_only_known_settings(self, services: dict[str, Any]) -> None:
        known = {variable_name(field) for field in Environment.model_fields}
        for name in COMMON:
            assert set(services[name]["environment"]) <= known

    def test_containers_have_few_privileges(self, services: dict[str, Any]) -> None:
        for name, service in services.items():
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert service["user"] not in {"", "0", "root"}, name
            assert service["tmpfs"], name
            assert not {"privileged", "cap_add", "pid", "ipc", "network_mode"} & set(service), name

    def test_redis_requires_a_password(self, services: dict[str, Any]) -> None:
        """The operator chooses it. It is the same for all services, and is not an argument of a
        command.
        """
        [password] = services["redis"]["environment"].values()
        assert password == "${REDIS_PASSWORD:?see .env.example}"
        assert "requirepass $$REDISCLI_AUTH" in services["redis"]["command"][-1]
        for name in COMMON:
            url = services[name]["environment"]["REDIS_URL"]
            assert url == f"redis://:{password}@redis:6379/0"

    def test_no_shell_stays_between_the_engine_and_a_program(
        self, services: dict[str, Any]
    ) -> None:
        """A shell as first process passes no signal on: the engine kills the program after 10 s."""
        for name, service in services.items():
            command = service.get("command", [])
            if command[:1] == ["sh"]:
                last = command[-1]
                assert last.startswith("exec "), name
                assert not set("|;&") & set(last), name

    def test_health_checks_find_only_what_is_ready(self, services: dict[str, Any]) -> None:
        """Compose starts the other services when these checks succeed, and ends when they have
        failed too often after ``start_period``.
        """
        checks = {
            name: service["healthcheck"]
            for name, service in services.items()
            if "healthcheck" in service
        }
        assert set(checks) == {"api-1", "api-2", *WORKERS, "postgres", "redis"}
        # the socket also leads to the server with which the image creates the database
        assert {"-h", "127.0.0.1"} < set(checks["postgres"]["test"])
        # without -e, redis-cli exits with 0 whatever Redis answers
        assert "-e" in checks["redis"]["test"]
        for name, check in checks.items():
            assert int(check["start_period"].removesuffix("s")) >= 120, name

    def test_logs_are_limited(self, services: dict[str, Any]) -> None:
        """The engine keeps all lines otherwise, and each API process writes one each second."""
        for name, service in services.items():
            assert {"max-size", "max-file"} <= set(service["logging"]["options"]), name

    def test_only_services_for_clients_and_operators_have_a_port(
        self, services: dict[str, Any]
    ) -> None:
        assert {
            name: service["ports"] for name, service in services.items() if "ports" in service
        } == {"haproxy": ["443:8443"], "grafana": ["127.0.0.1:3000:3000"]}

    def test_the_apis_trust_only_the_balancer(self, services: dict[str, Any]) -> None:
        """Prometheus and others are on the same network."""
        address = services["haproxy"]["networks"]["inside"]["ipv4_address"]
        assert services["api-1"]["environment"]["TRUSTED_PROXIES"] == address

    def test_no_other_container_can_get_the_address_of_the_balancer(
        self, services: dict[str, Any]
    ) -> None:
        """The engine gives addresses of ``ip_range`` to containers without a fixed one."""
        networks = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["networks"]
        [pool] = networks["inside"]["ipam"]["config"]
        address = IPv4Address(services["haproxy"]["networks"]["inside"]["ipv4_address"])
        assert address in IPv4Network(pool["subnet"])
        assert address not in IPv4Network(pool["ip_range"])
        assert IPv4Network(pool["ip_range"]).subnet_of(IPv4Network(pool["subnet"]))

    def test_prometheus_scrapes_each_process_at_its_port(self, services: dict[str, Any]) -> None:
        configuration = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
        api, workers = yaml.safe_load(configuration)["scrape_configs"]
        port = services["worker-1"]["environment"]["WORKER_METRICS_PORT"]
        assert api["static_configs"] == [{"targets": ["api-1:30100", "api-2:30100"]}]
        assert workers["static_configs"] == [{"targets": [f"{name}:{port}" for name in WORKERS]}]
        mounted = [volume.split(":")[-2] for volume in services["prometheus"]["volumes"][:2]]
        assert api["basic_auth"]["password_file"] in mounted
        assert "METRICS_OPEN" not in services["api-1"]["environment"]

    def test_the_page_installs_each_file_that_a_container_reads(self) -> None:
        text = (DEPLOY / "compose.yaml").read_text()
        read = set(re.findall(r"(?:/tls|see .env.example\})/([\w-]+(?:\.pem)?)", text))
        installed = re.findall(
            r"(?m)^ *install -m .* \S*?([\w.-]+) deploy/tls(?:/(\S+))?$", self.page()
        )
        assert read == {target or name for name, target in installed}

    def test_the_page_creates_the_user_of_prometheus_before_it_starts_prometheus(self) -> None:
        """Prometheus tries its password from the beginning. After ten failures its user is locked
        for five minutes.
        """
        page = self.page()
        assert 0 < page.index("user_create prometheus") < page.index(" up -d")

    def test_the_page_writes_the_variables_of_the_example_readable_only_by_root(self) -> None:
        [(mode, file)] = re.findall(
            r"(?s)install -m (\d+) /dev/stdin deploy/\.env <<END(.*?)\nEND", self.page()
        )
        example = (DEPLOY / ".env.example").read_text()
        assert mode == "0600"
        assert re.findall(r"(?m)^(\w+)=", file) == re.findall(r"(?m)^(\w+)=", example)

    @staticmethod
    def page() -> str:
        """Return the commands of docs/how-to/install-with-compose.md."""
        [block] = [b.text for b in pages.blocks() if "\ndocker build" in b.text]
        return block

    def test_docker_compose_accepts_the_file(self, tmp_path: Path) -> None:
        """The test sets the variables of .env.example, and a setting that the file does not
        list.
        """
        shutil.copy(DEPLOY / "compose.yaml", tmp_path)
        example = (DEPLOY / ".env.example").read_text()
        filled = re.sub(r"(?m)^(\w+)=$", r"\1=something", example)
        (tmp_path / ".env").write_text(filled)
        (tmp_path / "settings.env").write_text("DATA_KEYS=one-key\n")
        command = [tool("docker-compose"), "-f", tmp_path / "compose.yaml"]
        command += ["--project-directory", tmp_path, "config"]
        done = passes(*command, environment={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})
        read = yaml.safe_load(done)["services"]
        for name in COMMON:
            assert read[name]["environment"]["DATA_KEYS"] == "one-key"
            assert "GRAFANA_PASSWORD" not in read[name]["environment"]


class TestForms:
    """compose, systemd and Kubernetes start the same processes, with the same time to end."""

    COMMANDS: ClassVar = {
        "api": "gunicorn -c deploy/gunicorn.conf.py",
        "worker": "celery -A provisioner worker --queues=celery --pool=threads --concurrency=8",
        "periodic": "celery -A provisioner worker --queues=periodic --pool=threads "
        "--concurrency=12",
        "beat": "celery -A provisioner beat",
    }

    @pytest.fixture
    def stop_seconds(self) -> int:
        """Return the longest time that a stop takes, with the defaults and with the settings of the
        forms.
        """
        default = Environment.model_fields["stop_seconds"].default
        return int(default) + 5

    def test_all_forms_have_the_same_settings(self) -> None:
        """System tests run with these settings. Names are the same, and so are all values that name
        no place.
        """
        page = shipped.settings()
        unit = {"WORKER_METRICS_PORT"}  # of each worker, in its unit
        file = yaml.safe_load((KUBERNETES / "settings.yaml").read_text())["data"]
        secret = yaml.safe_load((KUBERNETES / "secret.example.yaml").read_text())["stringData"]
        compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["api-1"]
        defaults = {"STOP_SECONDS", "TOKEN_KEYS", "DATA_KEYS"}
        assert set(compose["environment"]) == set(page) | unit
        assert {*file, *secret} == set(page) | unit | defaults
        for name in ("UNREADY_SECONDS", "REQUIRE_CLIENT_CERTIFICATE"):
            assert page[name] == file[name] == str(compose["environment"][name])
        assert int(file["STOP_SECONDS"]) == Environment.model_fields["stop_seconds"].default

    def test_jobs_get_less_of_the_cpu_than_calls_in_all_forms(self) -> None:
        """decisions/0045. Without a value, systemd gives 100 and compose 1024."""
        units = {
            role: Unit(DEPLOY / "systemd", f"provisioner-{role}@1.service", str)
            for role in ("worker", "periodic", "api")
        }
        weights = {role: int(unit.value("CPUWeight", "100")) for role, unit in units.items()}
        assert weights == {"worker": 30, "periodic": 30, "api": 100}
        services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
        for role, weight in weights.items():
            shares = services[f"{role}-1"].get("cpu_shares", 1024)
            assert round(100 * shares / 1024) == weight
        requests = {role: self._requested(role) for role in weights}
        for role, weight in weights.items():
            assert 100 * requests[role] / requests["api"] == weight

    def _requested(self, role: str) -> int:
        """Return the thousandths of a core that a container of the role requests in Kubernetes."""
        first = next(iter(yaml.safe_load_all((KUBERNETES / f"{role}.yaml").read_text())))
        containers = first["spec"]["template"]["spec"]["containers"]
        ours = [c for c in containers if c["image"] == "provisioner"]
        [cpu] = {c["resources"]["requests"]["cpu"] for c in ours}
        return int(cpu.removesuffix("m"))

    def test_all_forms_give_haproxy_the_same_variables(self) -> None:
        """So the limits of HAProxy are the same in all forms."""
        unit = Unit(DEPLOY / "systemd", "provisioner-haproxy.service", str).environment
        compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["haproxy"]
        text = (DEPLOY / "haproxy.cfg").read_text()
        needed = set(re.findall(r"\$\{(\w+)\}", text))
        of_malloc = {name: value for name, value in unit.items() if name.startswith("MALLOC_")}
        assert len(of_malloc) == 2
        assert set(compose["environment"]) == needed | set(of_malloc)
        assert set(unit) == needed | set(of_malloc) | {"PATH", "LANG"}
        pods = list(yaml.safe_load_all((KUBERNETES / "api.yaml").read_text()))
        [container] = [
            c for c in pods[0]["spec"]["template"]["spec"]["containers"] if c["name"] == "haproxy"
        ]
        in_pod = {each["name"]: each["value"] for each in container["env"]}
        assert set(in_pod) == needed | set(of_malloc)
        for name, value in of_malloc.items():
            assert value == in_pod[name] == str(compose["environment"][name])

    @pytest.mark.parametrize("role", COMMANDS)
    def test_systemd_starts_and_stops_each_role_as_the_other_forms(
        self, role: str, stop_seconds: int
    ) -> None:
        [unit] = (DEPLOY / "systemd").glob(f"provisioner-{role}*.service")
        text = unit.read_text()
        started = text.partition("ExecStart=/opt/provisioner/.venv/bin/")[2].partition("\n")[0]
        assert started.startswith(self.COMMANDS[role])
        assert int(text.partition("TimeoutStopSec=")[2].split()[0]) > stop_seconds

    @pytest.mark.parametrize("role", COMMANDS)
    def test_compose_starts_and_stops_each_role_as_the_other_forms(
        self, role: str, stop_seconds: int
    ) -> None:
        service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"][f"{role}-1"]
        if role == "api":
            image = (DEPLOY / "Dockerfile").read_text().splitlines()[-1].removeprefix("CMD ")
            assert " ".join(json.loads(image)) == self.COMMANDS[role]
        else:
            assert " ".join(service["command"]) == self.COMMANDS[role]
        assert service["environment"]["UNREADY_SECONDS"] == 5
        assert int(service["stop_grace_period"].removesuffix("s")) > stop_seconds

    @pytest.mark.parametrize("role", COMMANDS)
    def test_kubernetes_starts_and_stops_each_role_as_the_other_forms(
        self, role: str, stop_seconds: int
    ) -> None:
        [deployment] = [
            each
            for each in yaml.safe_load_all((KUBERNETES / f"{role}.yaml").read_text())
            if each["kind"] == "Deployment"
        ]
        pod = deployment["spec"]["template"]["spec"]
        ours = [c for c in pod["containers"] if c["image"] == "provisioner"]
        assert {" ".join(container["command"]) for container in ours} == {self.COMMANDS[role]}
        assert pod["terminationGracePeriodSeconds"] > stop_seconds
        assert deployment["spec"]["replicas"] == 2
