"""deploy/kubernetes against the schemas of Kubernetes, and against the settings that there are."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from provisioner.environment import Environment, variable_name
from tests.programs import tool
from tests.system.test_deploy import KUBERNETES, passes

OLDEST, NEWEST = "1.30", "1.37"
SECRET = KUBERNETES / "secret.example.yaml"
Objects = list[dict[str, Any]]


@pytest.fixture(scope="module")
def objects() -> Objects:
    """As kustomize makes them, and the secret, which is filled by hand."""
    text = passes(tool("kubectl"), "kustomize", KUBERNETES)
    return [*yaml.safe_load_all(text), yaml.safe_load(SECRET.read_text())]


@pytest.fixture(scope="module")
def pods(objects: Objects) -> Objects:
    return [o["spec"]["template"]["spec"] for o in objects if o["kind"] in {"Deployment", "Job"}]


def of_kind(objects: Objects, kind: str) -> Objects:
    return [each for each in objects if each["kind"] == kind]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_schemas(objects: Objects, version: str) -> None:
    for each in objects:
        kubernetes_validate.validate(each, version, strict=True)
    wrong = of_kind(objects, "Deployment")[0] | {"spec": {"replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_one_namespace(objects: Objects) -> None:
    spaces = {o["metadata"].get("namespace") for o in objects if o["kind"] != "Namespace"}
    assert spaces == {of_kind(objects, "Namespace")[0]["metadata"]["name"]}


def test_settings_are_right(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    values = dict(of_kind(objects, "ConfigMap")[0]["data"])
    values |= of_kind(objects, "Secret")[0]["stringData"] | {"SECRET_KEY": "k" * 50}
    known = {variable_name(field) for field in Environment.model_fields}
    assert set(values) <= known
    for name in known:
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    # the files of the secret are not here
    for name in ("TLS_CERTIFICATE", "TLS_KEY", "TLS_CLIENT_CA", "NODE_CA"):
        monkeypatch.setenv(name, __file__)
    read = Environment()
    assert read.require_client_certificate
    assert read.trusted_proxies == ("127.0.0.1",)


def test_the_secret_of_files_has_each_file(objects: Objects) -> None:
    """Which is made by the command in the comment of the secret's example."""
    made = set(re.findall(r"--from-file=([\w.]+)", SECRET.read_text()))
    values = of_kind(objects, "ConfigMap")[0]["data"].values()
    assert {str(value) for value in values if str(value).startswith("/tls/")} == {
        f"/tls/{name}" for name in made
    }


def test_pods_have_only_what_exists(objects: Objects, pods: Objects) -> None:
    names = {(o["kind"], o["metadata"]["name"]) for o in objects}
    for pod in pods:
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            for source in container["envFrom"]:
                [(kind, reference)] = source.items()
                assert (kind[0].upper() + kind[1:-3], reference["name"]) in names
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_pods_are_restricted(pods: Objects) -> None:
    """As the namespace demands; and no variables of services, of which API_PORT would be one."""
    for pod in pods:
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
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


def test_pods_are_called_only_where_a_policy_says(objects: Objects) -> None:
    """By nobody, but: each policy names pods that there are, and ports that these have."""
    policies = {
        each["metadata"]["name"]: each["spec"] for each in of_kind(objects, "NetworkPolicy")
    }
    assert policies.pop("nobody") == {"podSelector": {}, "policyTypes": ["Ingress"]}
    templates = [each["spec"]["template"] for each in of_kind(objects, "Deployment")]
    for policy in policies.values():
        [template] = [
            each
            for each in templates
            if each["metadata"]["labels"] == policy["podSelector"]["matchLabels"]
        ]
        containers = template["spec"]["containers"]
        ports = {port["name"] for each in containers for port in each.get("ports", ())}
        assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} <= ports
    assert set(policies) == {"api", "worker"}


def test_the_api_is_asked_what_it_answers(pods: Objects) -> None:
    [api] = [c for pod in pods for c in pod["containers"] if c["name"] == "api"]
    paths = {api[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe")}
    assert paths == {"/readyz", "/healthz"}
    [port] = api["ports"]
    assert port["containerPort"] == Environment.model_fields["api_port"].default


def test_workers_show_metrics_where_the_pods_say(objects: Objects, pods: Objects) -> None:
    shown = of_kind(objects, "ConfigMap")[0]["data"]["WORKER_METRICS_PORT"]
    [worker] = [c for pod in pods for c in pod["containers"] if c["name"] == "worker"]
    assert worker["ports"] == [{"name": "metrics", "containerPort": int(shown)}]
    [template] = [
        deployment["spec"]["template"]["metadata"]["annotations"]
        for deployment in of_kind(objects, "Deployment")
        if deployment["metadata"]["name"] == "worker"
    ]
    assert template == {"prometheus.io/scrape": "true", "prometheus.io/port": shown}


def test_the_secret_is_not_kept_here() -> None:
    ignored = (Path(__file__).parents[2] / ".gitignore").read_text().splitlines()
    assert "deploy/kubernetes/secret.yaml" in ignored
    values = yaml.safe_load(SECRET.read_text())["stringData"].values()
    assert all(value == "" or "PASSWORD" in value for value in values)
