"""deploy/kubernetes is valid for the schemas of Kubernetes, uses only existing settings, and
defines a pod that corresponds to a server of the systemd form.
"""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from provisioner.environment import Environment, variable_name
from tests.programs import tool
from tests.system.deploy_steps import DEPLOY, KUBERNETES, dockerfile, passes, seconds
from tests.system.units import Unit

OLDEST, NEWEST = "1.30", "1.37"
SECRET = KUBERNETES / "secret.example.yaml"
Objects = list[dict[str, Any]]


@pytest.fixture(scope="module")
def objects() -> Objects:
    """Return the objects that kustomize builds, and the secret, which is written by hand."""
    text = passes(tool("kubectl"), "kustomize", DEPLOY)
    return [*yaml.safe_load_all(text), yaml.safe_load(SECRET.read_text())]


@pytest.fixture(scope="module")
def pods(objects: Objects) -> Objects:
    return [o["spec"]["template"]["spec"] for o in objects if o["kind"] in {"Deployment", "Job"}]


def of_kind(objects: Objects, kind: str) -> Objects:
    return [each for each in objects if each["kind"] == kind]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_all_objects_match_the_schemas_of_kubernetes(objects: Objects, version: str) -> None:
    for each in objects:
        kubernetes_validate.validate(each, version, strict=True)
    wrong = of_kind(objects, "Deployment")[0] | {"spec": {"replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_all_objects_are_in_one_namespace(objects: Objects) -> None:
    spaces = {o["metadata"].get("namespace") for o in objects if o["kind"] != "Namespace"}
    assert spaces == {of_kind(objects, "Namespace")[0]["metadata"]["name"]}


def test_the_settings_are_valid(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    values = settings(objects)
    values |= of_kind(objects, "Secret")[0]["stringData"] | {"SECRET_KEY": "k" * 50}
    known = {variable_name(field) for field in Environment.model_fields}
    assert set(values) <= known
    for name in known:
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    # the files of the secret are not here
    monkeypatch.setenv("NODE_CA", __file__)
    read = Environment()
    assert read.require_client_certificate
    assert read.trusted_proxies == ("127.0.0.1",)
    assert read.tls_certificate is None, "HAProxy ends TLS"


def settings(objects: Objects) -> dict[str, str]:
    [found] = [o for o in of_kind(objects, "ConfigMap") if o["metadata"]["name"] == "settings"]
    return dict(found["data"])


def containers(pod: dict[str, Any]) -> Objects:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def named(pods: Objects, name: str) -> dict[str, Any]:
    [found] = [c for pod in pods for c in pod["containers"] if c["name"] == name]
    return dict(found)


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container.get("env", ())}


def test_the_secret_of_files_has_each_file(objects: Objects, pods: Objects) -> None:
    """The command in the comment of the secret's example creates it. Each pod gets only the files
    that it reads: only HAProxy has the key of TLS.
    """
    made = set(re.findall(r"--from-file=([\w.]+)", SECRET.read_text()))
    used: set[str] = set()
    for pod in pods:
        items = {
            volume["name"]: {item["key"] for item in volume["secret"]["items"]}
            for volume in pod["volumes"]
            if "secret" in volume
        }
        for container in containers(pod):
            values = environment(container) or {}
            values |= settings(objects) if container.get("envFrom") else {}
            read = {v.removeprefix("/tls/") for v in values.values() if v.startswith("/tls/")}
            [has] = [items[m["name"]] for m in container["volumeMounts"] if m["name"] in items]
            assert has == read, container["name"]
            used |= has
    assert made == used


def test_haproxy_has_the_same_configuration_in_all_forms(objects: Objects, pods: Objects) -> None:
    [made] = [o for o in of_kind(objects, "ConfigMap") if "haproxy.cfg" in o["data"]]
    assert made["data"]["haproxy.cfg"] == (DEPLOY / "haproxy.cfg").read_text()
    [pod] = [pod for pod in pods if any(c["name"] == "haproxy" for c in pod["containers"])]
    [volume] = [volume for volume in pod["volumes"] if "configMap" in volume]
    assert volume["configMap"]["name"] == made["metadata"]["name"]


def test_a_pod_has_haproxy_before_two_apis_like_a_server(pods: Objects) -> None:
    """The two APIs trust only HAProxy. All of them use the loopback interface."""
    unit = Unit(DEPLOY / "systemd", "provisioner-haproxy.service", str)
    haproxy = environment(named(pods, "haproxy"))
    assert set(haproxy) < set(unit.environment)
    for number in "12":
        assert haproxy[f"API_{number}"] == unit.environment[f"API_{number}"]
        api = named(pods, f"api-{number}")
        port = environment(api)["API_PORT"]
        assert haproxy[f"API_{number}"] == f"127.0.0.1:{port}"
        assert api["ports"] == [{"name": f"api-{number}", "containerPort": int(port)}]


def test_a_pod_stops_haproxy_before_the_apis(objects: Objects, pods: Objects) -> None:
    """No call is sent to a stopped process: the service removes the pod, HAProxy accepts calls on
    kept connections until it ends, and then the APIs end.
    """
    [pod] = [pod for pod in pods if any(c["name"] == "haproxy" for c in pod["containers"])]
    sleeps = {c["name"]: c["lifecycle"]["preStop"]["sleep"]["seconds"] for c in pod["containers"]}
    [stop] = re.findall(r"hard-stop-after (\S+)", (DEPLOY / "haproxy.cfg").read_text())
    assert sleeps["api-1"] == sleeps["api-2"] > sleeps["haproxy"] + seconds(stop)
    end = int(settings(objects)["UNREADY_SECONDS"]) + int(settings(objects)["STOP_SECONDS"])
    assert pod["terminationGracePeriodSeconds"] > sleeps["api-1"] + end


def test_clients_reach_the_api_only_through_haproxy(objects: Objects, pods: Objects) -> None:
    [service] = of_kind(objects, "Service")
    policies = of_kind(objects, "NetworkPolicy")
    [policy] = [each for each in policies if each["metadata"]["name"] == "api"]
    [public, of_monitoring] = policy["spec"]["ingress"]
    assert policy["spec"]["podSelector"]["matchLabels"] == service["spec"]["selector"]
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["https"]
    assert public == {"ports": [{"port": "https"}]}
    assert {port["port"] for port in of_monitoring["ports"]} == {"api-1", "api-2"}
    assert of_monitoring["from"]
    assert named(pods, "haproxy")["ports"] == [{"name": "https", "containerPort": 8443}]
    assert environment(named(pods, "haproxy"))["BIND"] == ":8443"


def test_pod_monitors_give_the_names_of_jobs_that_the_alerts_expect(pods: Objects) -> None:
    monitors = list(yaml.safe_load_all((KUBERNETES / "podmonitors.yaml").read_text()))
    scraped = [each for monitor in monitors for each in monitor["spec"]["podMetricsEndpoints"]]
    jobs = {each["relabelings"][0]["replacement"] for each in scraped}
    alerts = (DEPLOY / "prometheus" / "alerts.yml").read_text()
    assert jobs == set(re.findall(r'up\{job="([\w-]+)"\}', alerts))
    ports = {p["name"] for pod in pods for c in pod["containers"] for p in c.get("ports", ())}
    assert {each["port"] for each in scraped} == ports - {"https"}


def test_pods_mount_only_volumes_that_exist(objects: Objects, pods: Objects) -> None:
    names = {(o["kind"], o["metadata"]["name"]) for o in objects}
    for pod in pods:
        volumes = {volume["name"] for volume in pod["volumes"]}
        mounted = set()
        for container in containers(pod):
            for source in container.get("envFrom", ()):
                [(kind, reference)] = source.items()
                assert (kind[0].upper() + kind[1:-3], reference["name"]) in names
            mounted |= {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == volumes


def test_pods_have_few_privileges(pods: Objects) -> None:
    """The namespace demands this. Pods also get no variables of services, because one of them would
    be API_PORT.
    """
    for pod in pods:
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(pod):
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_selectors_find_their_pods(objects: Objects) -> None:
    labels = [d["spec"]["template"]["metadata"]["labels"] for d in of_kind(objects, "Deployment")]
    for deployment in of_kind(objects, "Deployment"):
        assert deployment["spec"]["selector"]["matchLabels"] in labels
    for budget in of_kind(objects, "PodDisruptionBudget"):
        assert budget["spec"]["selector"]["matchLabels"] in labels
    [service] = of_kind(objects, "Service")
    assert service["spec"]["selector"] in labels


def test_network_policies_name_existing_pods_and_ports(objects: Objects) -> None:
    """By default nobody may connect. Each policy names existing pods and their ports."""
    policies = {
        each["metadata"]["name"]: each["spec"] for each in of_kind(objects, "NetworkPolicy")
    }
    assert policies.pop("nobody") == {"podSelector": {}, "policyTypes": ["Ingress"]}
    templates = [each["spec"]["template"] for each in of_kind(objects, "Deployment")]
    for app, policy in policies.items():
        assert policy["podSelector"] == {"matchLabels": {"app": app}}
        [template] = [each for each in templates if each["metadata"]["labels"] == {"app": app}]
        containers = template["spec"]["containers"]
        ports = {port["name"] for each in containers for port in each.get("ports", ())}
        assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} <= ports
    assert set(policies) == {"api", "worker", "periodic"}


def test_probes_call_healthz_of_each_api_and_readyz_of_haproxy(pods: Objects) -> None:
    """If one API is not ready, no pod is taken out of service, because the other API serves."""
    ready = named(pods, "haproxy")["readinessProbe"]["httpGet"]
    assert ready == {"path": "/readyz", "port": "https", "scheme": "HTTPS"}
    for name in ("api-1", "api-2"):
        assert named(pods, name)["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": name}
        assert "readinessProbe" not in named(pods, name)


def test_workers_serve_metrics_at_the_annotated_port(objects: Objects, pods: Objects) -> None:
    shown = settings(objects)["WORKER_METRICS_PORT"]
    for name in ("worker", "periodic"):
        assert named(pods, name)["ports"] == [{"name": "metrics", "containerPort": int(shown)}]
        [annotations] = [
            deployment["spec"]["template"]["metadata"]["annotations"]
            for deployment in of_kind(objects, "Deployment")
            if deployment["metadata"]["name"] == name
        ]
        assert annotations == {"prometheus.io/scrape": "true", "prometheus.io/port": shown}


def test_each_file_is_applied_or_an_example() -> None:
    """The operator applies the monitors, which need the Prometheus operator."""
    by_hand = {"podmonitors.yaml", SECRET.name}
    named = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())["resources"]
    files = {f"kubernetes/{path.name}" for path in KUBERNETES.glob("*.yaml")}
    assert sorted(named) == sorted(files - {f"kubernetes/{name}" for name in by_hand})


def test_containers_find_their_files_where_they_look(objects: Objects, pods: Objects) -> None:
    """Each path in a command or a variable is below a mount, and so is the image's DATA_DIR: a
    container can write only to its mounts.
    """
    for pod in pods:
        for container in containers(pod):
            values = environment(container)
            values |= settings(objects) if container.get("envFrom") else {}
            words = [*values.values(), *container["command"]]
            read = {word for word in words if re.fullmatch(r"/[\w./-]+", word)}
            if container["image"].startswith("provisioner"):
                read |= {dockerfile().variables["DATA_DIR"], "/tmp"}  # noqa: S108 - gunicorn's
            mounted = [Path(mount["mountPath"]) for mount in container["volumeMounts"]]
            for path in map(Path, read):
                assert {path, *path.parents} & set(mounted), f"{container['name']}: {path}"


def test_a_command_of_haproxy_stays_in_the_foreground(pods: Objects) -> None:
    """-D and -Ws are for other supervisors. The master process passes the signal to stop on, and
    reads the file that is mounted.
    """
    container = named(pods, "haproxy")
    [mount] = [m["mountPath"] for m in container["volumeMounts"] if m["name"] == "haproxy"]
    assert container["command"][0] == "haproxy"
    assert {"-W", "-db"} < set(container["command"])
    assert container["command"][-2:] == ["-f", f"{mount}/haproxy.cfg"]


def test_pods_wait_until_the_job_has_migrated(objects: Objects) -> None:
    """``--check`` changes nothing and fails until then. The job itself has no such option."""
    [job] = of_kind(objects, "Job")
    [migrate] = job["spec"]["template"]["spec"]["containers"]
    assert migrate["command"] == ["python", "manage.py", "migrate"]
    for deployment in of_kind(objects, "Deployment"):
        [first] = deployment["spec"]["template"]["spec"]["initContainers"]
        assert first["command"] == [*migrate["command"], "--check"]


def test_pods_run_as_the_user_of_the_image(pods: Objects) -> None:
    """Kubernetes gives files of secrets and empty volumes to ``fsGroup``."""
    for pod in pods:
        context = pod["securityContext"]
        assert str(context["runAsUser"]) == str(context["fsGroup"]) == dockerfile().uid
        for container in containers(pod):
            assert not {"runAsUser", "runAsNonRoot"} & set(container["securityContext"])


def test_the_namespace_refuses_pods_with_more_privileges(objects: Objects) -> None:
    [namespace] = of_kind(objects, "Namespace")
    labels = namespace["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_updates_and_drains_leave_a_pod_and_end(objects: Objects) -> None:
    """A budget that equals the replicas would forbid each drain of a machine. A new pod starts
    before an old one is stopped.
    """
    replicas = {d["metadata"]["name"]: d["spec"] for d in of_kind(objects, "Deployment")}
    for budget in of_kind(objects, "PodDisruptionBudget"):
        app = budget["spec"]["selector"]["matchLabels"]["app"]
        assert 1 <= budget["spec"]["minAvailable"] < replicas[app]["replicas"]
    for spec in replicas.values():
        update = spec["strategy"]["rollingUpdate"]
        assert (update["maxUnavailable"], update["maxSurge"]) == (0, 1)


def test_haproxy_sees_the_address_of_callers(objects: Objects) -> None:
    """``Cluster`` replaces it with a machine's, and HAProxy's limits are for each address."""
    [service] = of_kind(objects, "Service")
    assert service["spec"]["externalTrafficPolicy"] == "Local"


def test_a_busy_api_is_not_restarted(pods: Objects) -> None:
    """/healthz waits while all cores are busy. The kubelet restarts a process that does not answer
    for longer than HAProxy waits for an answer.
    """
    text = (DEPLOY / "haproxy.cfg").read_text()
    [answer] = re.findall(r"timeout server (\S+)", text)
    [check] = re.findall(r"timeout check (\S+)", text)
    for name in ("api-1", "api-2"):
        probe = named(pods, name)["livenessProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] >= seconds(answer)
        assert probe["timeoutSeconds"] > seconds(check)


def test_all_forms_have_the_same_haproxy(pods: Objects) -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert named(pods, "haproxy")["image"] == compose["haproxy"]["image"]


def test_only_the_namespace_of_monitoring_reads_metrics(objects: Objects) -> None:
    """Kubernetes itself gives each namespace a label with its name; the page names this one."""
    page = (DEPLOY.parent / "docs/how-to/install-on-kubernetes.md").read_text()
    names = [
        source["namespaceSelector"]["matchLabels"]
        for policy in of_kind(objects, "NetworkPolicy")
        for rule in policy["spec"].get("ingress", ())
        for source in rule.get("from", ())
    ]
    assert len(names) == 3
    for labels in names:
        assert f"`{labels['kubernetes.io/metadata.name']}`" in page


def test_the_filled_secret_is_ignored_by_git() -> None:
    ignored = (Path(__file__).parents[2] / ".gitignore").read_text().splitlines()
    assert "deploy/kubernetes/secret.yaml" in ignored
    values = yaml.safe_load(SECRET.read_text())["stringData"].values()
    assert all(value == "" or "PASSWORD" in value for value in values)
