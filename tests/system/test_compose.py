"""deploy/compose.yaml as a graph: what each service names exists, where the other side has it."""

import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from provisioner.environment import SPARE_CONNECTIONS, Environment
from tests import pages
from tests.system import shipped
from tests.system.deploy_steps import DEPLOY, KUBERNETES, dockerfile, seconds
from tests.system.units import Unit

Service = dict[str, Any]
Services = dict[str, Service]
READ = {
    "haproxy": ["/usr/local/etc/haproxy/haproxy.cfg"],
    "prometheus": ["/etc/prometheus/prometheus.yml", "/etc/prometheus/alerts.yml"],
    "grafana": ["/etc/grafana/provisioning/datasources", "/etc/grafana/provisioning/dashboards"],
}
"""What the image of a service reads without being told so, by its documentation."""
KEPT = {
    "postgres": "/var/lib/postgresql/data",
    "redis": "/data",
    "prometheus": "/prometheus",
    "grafana": "/var/lib/grafana",
}
"""Where the image of a service keeps its data."""
UIDS = {"haproxy": "99", "nobody": "65534", "postgres": "999"}
"""The users of the images that compose.yaml names by name."""
PORTS = {"postgres": 5432, "redis": 6379, "grafana": 3000}
"""At which a service listens by default."""


@pytest.fixture(scope="module")
def services() -> Services:
    """Return the services, with the defaults of variables, or the name of one without default."""
    text = re.sub(
        r"\$\{(\w+)(?::-(\w+)|:\?[^}]*)\}",
        lambda found: found[2] or found[1],
        (DEPLOY / "compose.yaml").read_text(),
    )
    return dict(yaml.safe_load(text)["services"])


def ours(services: Services) -> Services:
    return {name: s for name, s in services.items() if s["image"].startswith("provisioner:")}


def of_role(services: Services, role: str) -> list[str]:
    return [name for name in services if re.fullmatch(rf"{role}-\d", name)]


def mounts(service: Service) -> dict[str, str]:
    """Return what is mounted, by the path in the container."""
    return {where.split(":")[1]: where.split(":")[0] for where in service["volumes"]}


def source(service: Service, path: str) -> str | None:
    """Return the path of the machine, or the name of the volume, that a container sees there."""
    for target, origin in mounts(service).items():
        if path == target or path.startswith(f"{target}/"):
            return origin + path.removeprefix(target)
    return None


def page() -> str:
    [block] = [b.text for b in pages.blocks() if "\ndocker build" in b.text]
    return block


def installed() -> dict[str, tuple[str, str]]:
    """Return mode and owner of each file that the page puts into deploy/tls."""
    line = r"(?m)^ *install -m (\d+) (?:-o (\d+) )?\S*?([\w.-]+) deploy/tls(?:/(\S+))?$"
    return {
        target or name: (mode, owner)
        for mode, owner, name, target in re.findall(line, page().replace("/dev/stdin", "stdin"))
    }


def paths(service: Service) -> set[str]:
    """Return the absolute paths in environment and command."""
    words = [*map(str, service.get("environment", {}).values()), *service.get("command", ())]
    return {word for word in words if re.fullmatch(r"/[\w./-]+", word)}


def api_port(service: Service) -> int:
    return int(service["environment"].get("API_PORT", Environment.model_fields["api_port"].default))


def test_haproxy_has_two_different_apis_at_their_port(services: Services) -> None:
    variables = services["haproxy"]["environment"]
    named = [variables["API_1"].split(":"), variables["API_2"].split(":")]
    assert [host for host, _ in named] == of_role(services, "api")
    for host, port in named:
        assert int(port) == api_port(services[host])
        assert "command" not in services[host], "it runs the image's gunicorn"


def test_urls_name_services_with_their_ports_and_passwords(services: Services) -> None:
    postgres = services["postgres"]["environment"]
    for service in ours(services).values():
        variables = service["environment"]
        database, redis = urlsplit(variables["DATABASE_URL"]), urlsplit(variables["REDIS_URL"])
        for url in (database, redis):
            assert url.hostname in services
            assert (url.port or PORTS["postgres"]) == PORTS[url.hostname]
        assert database.scheme == "postgresql"
        assert database.hostname == "postgres"
        assert database.username == postgres["POSTGRES_USER"]
        assert database.password == postgres["POSTGRES_PASSWORD"]
        assert database.path == f"/{postgres['POSTGRES_DB']}"
        assert redis.hostname == "redis"
        assert redis.password == services["redis"]["environment"]["REDISCLI_AUTH"]


def test_published_ports_lead_to_a_port_that_is_listened_on(services: Services) -> None:
    listens = PORTS | {"haproxy": int(services["haproxy"]["environment"]["BIND"].strip(":"))}
    for name, service in services.items():
        for published in service.get("ports", ()):
            assert int(published.rpartition(":")[2]) == listens[name]


def test_health_checks_ask_the_service_itself(services: Services) -> None:
    for name in of_role(services, "api"):
        [url] = re.findall(r"http://[^']+", services[name]["healthcheck"]["test"][-1])
        assert url == f"http://127.0.0.1:{api_port(services[name])}/healthz"
    for name in [*of_role(services, "worker"), *of_role(services, "periodic")]:
        [url] = re.findall(r"http://[^']+", services[name]["healthcheck"]["test"][-1])
        port = services[name]["environment"]["WORKER_METRICS_PORT"]
        assert url == f"http://127.0.0.1:{port}/metrics"
    asked = services["postgres"]["healthcheck"]["test"]
    assert asked[asked.index("-U") + 1] == services["postgres"]["environment"]["POSTGRES_USER"]
    assert services["redis"]["healthcheck"]["test"][1] == "redis-cli"


def test_a_container_sees_each_file_that_it_reads(services: Services) -> None:
    """The machine has it: in deploy/, or because the page installs it."""
    for name, service in services.items():
        for path in {*paths(service), *READ.get(name, ())}:
            origin = source(service, path)
            assert origin, f"{name} reads {path}, where nothing is mounted"
            folder, _, file = origin.partition("/")
            if folder == "TLS_DIR":
                assert file in installed(), f"{name} reads {file}"
            else:
                assert (DEPLOY / origin).exists(), f"{name} reads {origin}"


def test_data_is_kept_in_volumes(services: Services) -> None:
    """Anything else is lost when the container is replaced."""
    declared = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["volumes"]
    for name, path in KEPT.items():
        assert source(services[name], path) in declared, name


def test_containers_may_read_their_secrets(services: Services) -> None:
    """A file with a key belongs to the only user that reads it."""
    readers: dict[str, set[str]] = {}
    for service in services.values():
        files = {*paths(service), *mounts(service)}
        origins = [source(service, path) or "" for path in files]
        for file in (origin.partition("TLS_DIR/")[2] for origin in origins):
            if file:
                user = str(service["user"])
                readers.setdefault(file, set()).add(UIDS.get(user, user))
    assert set(readers) == set(installed())
    for file, (mode, owner) in installed().items():
        assert mode == "0644" or {owner} == readers[file], file


def test_the_user_of_the_image_runs_our_containers(services: Services) -> None:
    """It is the one that owns DATA_DIR in the image."""
    for name, service in ours(services).items():
        assert service["user"] == dockerfile().uid, name


def test_settings_name_the_same_files_as_with_systemd(services: Services) -> None:
    """Tests start the processes of that form with these files."""
    haproxy = Unit(DEPLOY / "systemd", "provisioner-haproxy.service", str).environment
    for name, others in (("haproxy", haproxy), ("api-1", shipped.settings())):
        variables = services[name]["environment"]
        files = {k: Path(v).name for k, v in variables.items() if str(v).startswith("/")}
        assert len(files) == 2
        assert files == {variable: Path(others[variable]).name for variable in files}


def test_the_database_is_migrated_before_other_containers_start(services: Services) -> None:
    """With the command of the job in Kubernetes. It ends, so it starts again only after a failure.
    The others also start again with the machine, which ``on-failure`` would not do.
    """
    [job] = yaml.safe_load_all((KUBERNETES / "migrate.yaml").read_text())
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert services["migrate"]["command"] == container["command"]
    assert services["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    for name, service in services.items():
        assert service["restart"] == ("on-failure" if name == "migrate" else "unless-stopped")
        if name in ours(services) and name != "migrate":
            ended = {"condition": "service_completed_successfully"}
            assert service["depends_on"]["migrate"] == ended, name


def test_postgresql_has_connections_for_all_processes(services: Services) -> None:
    """docs/reference/processes.md."""
    needed = {"api": 8 * 24, "worker": 2 * 16, "periodic": 2 * 16, "beat": 2 * 2}
    names = [name for name in ours(services) if name != "migrate"]
    processes = Counter(name.split("-")[0] for name in names)
    assert processes == {"api": 2, "worker": 2, "periodic": 2, "beat": 2}
    assert int(services["api-1"]["environment"]["API_WORKERS"]) == 4
    size = Environment.model_fields["api_threads"].default + SPARE_CONNECTIONS
    assert size == 24
    [most] = re.findall(r"max_connections=(\d+)", " ".join(services["postgres"]["command"]))
    assert int(most) >= sum(needed.values()) + 10


def test_haproxy_may_finish_its_requests_in_all_forms(services: Services) -> None:
    """It ends by itself after ``hard-stop-after``. Killed before that, it breaks off requests."""
    [hard] = re.findall(r"hard-stop-after (\S+)", (DEPLOY / "haproxy.cfg").read_text())
    assert seconds(services["haproxy"]["stop_grace_period"]) > seconds(hard)
    unit = Unit(DEPLOY / "systemd", "provisioner-haproxy.service", str)
    assert int(unit.value("TimeoutStopSec")) > seconds(hard)


def test_all_containers_are_in_one_network(services: Services) -> None:
    """They find each other by name."""
    for name, service in services.items():
        assert list(service["networks"]) == ["inside"], name
