"""Requests that deploy/haproxy.cfg repeats after a process has died are safe to repeat."""

import re
from pathlib import Path

from events.stream import KEEP_ALIVE_SECONDS
from provisioner.access.client_certificate import PROXY_HEADERS
from provisioner.common.known_answers import MAX_ANSWERS
from provisioner.common.limits import MOST_CREDENTIALS
from provisioner.environment import Environment
from tests.api.roles_steps import operations
from volumes.metrics.scale import TESTED

CONFIG = Path(__file__).parents[2] / "deploy" / "haproxy.cfg"
ANYWAY = {
    "POST /host_probe",
    "POST /probe",
    "POST /unpublish",
    "DELETE /snapshots/x",
    "DELETE /volumes/x",
}
"""Operations that are safe to repeat without a key."""


def sent_again(method: str, path: str) -> bool:
    """Whether this request is sent again according to the rules in the file. All requests to the
    backend for polls are.
    """
    text = CONFIG.read_text()
    patterns = dict(re.findall(r"acl (\w+) path_reg (\S+)", text))
    rules = re.findall(r"(?:disable-l7-retry unless|use_backend polls if) (.+)", text)
    methods = {"METH_GET": "GET", "METH_POST": "POST", "{ method PATCH DELETE }": "PATCH DELETE"}
    for case in " || ".join(rules).split(" || "):
        name = next(each for each in methods if case.startswith(each))
        acl = case.removeprefix(name).strip()
        if method in methods[name].split() and (not acl or re.search(patterns[acl], path)):
            return True
    return False


def test_only_safe_requests_are_sent_again():
    again, safe = set(), set()
    for method, route, view, action in operations():
        path = "/" + re.sub(r"<[^>]*>", "x", route).lstrip("/")
        if sent_again(method, path):
            again.add(f"{method} {path}")
            assert sent_again(method, f"{path}/")
        if method == "GET" or view.operations[action].repeatable:
            safe.add(f"{method} {path}")
    of_tenants = {each.replace(" ", " /x", 1) for each in ANYWAY if "probe" not in each}
    assert again == safe | ANYWAY | of_tenants


def test_the_head_of_the_file_names_each_variable_and_its_default():
    head = CONFIG.read_text().partition("\nglobal\n")[0]
    for name, default in re.findall(r"\$\{(\w+)-(\w+)\}", CONFIG.read_text()):
        assert re.search(rf"^#   {name} +{default}, ", head, re.MULTILINE), name


def test_each_tested_host_can_keep_a_connection():
    [files] = re.findall(r'fd-hard-limit "\$\{OPEN_FILES-(\d+)\}"', CONFIG.read_text())
    assert int(files) // 2 > 1.2 * TESTED["host"]
    assert "maxconn" not in CONFIG.read_text(), "it would count all the same"


def test_each_tested_host_can_have_its_token_and_its_certificate_remembered():
    assert TESTED["host"] + TESTED["node"] < MOST_CREDENTIALS
    assert 2 * TESTED["host"] < MAX_ANSWERS, "of a poll and a probe"


def test_streams_of_events_are_kept_alive_within_the_balancers_timeout():
    timeouts = dict(re.findall(r"timeout (client|server) (\d+)s", CONFIG.read_text()))
    assert min(map(int, timeouts.values())) >= 2 * KEEP_ALIVE_SECONDS


def test_the_pages_name_each_header_that_is_trusted():
    docs = CONFIG.parents[1] / "docs"
    [setting] = re.findall(r"\| `TRUSTED_PROXIES` .*", (docs / "reference/settings.md").read_text())
    trust = (docs / "how-to/load-balancer.md").read_text().partition("## Who needs")[0].upper()
    for header in PROXY_HEADERS:
        name = header.removeprefix("HTTP_").replace("_", "-")
        assert name in trust
        assert name in setting.upper()
        assert f"http-request set-header {name} ".upper() in CONFIG.read_text().upper()


def test_the_body_limits_of_balancer_and_api_are_equal():
    defaults = dict(re.findall(r"\$\{(\w+)-(\w+)\}", CONFIG.read_text()))
    assert int(defaults["MAX_BODY"]) == Environment.model_fields["max_body_bytes"].default
    assert int(defaults["BUFFER_BYTES"]) == int(defaults["MAX_BODY"]) + 2**16
