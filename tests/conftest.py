"""Fixtures of all tests: simulated nodes on real HTTPS, and the API over real HTTP.

Tests that write use real transactions (``@pytest.mark.django_db(transaction=True)``): the API and
the nodes run in other threads.
"""

import datetime as dt
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import hypothesis
import pytest
import urllib3
from django.conf import settings as django_settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.servers.basehttp import WSGIRequestHandler
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.services.node import clients as node_clients
from provisioner.access.principals import Role
from provisioner.access.tokens import token_issue
from provisioner.certificates import Authority
from tests import cleaning, programs
from tests.api import conformance, coverage

# pytest-timeout ends tests that hang; an example may be slow on a busy machine
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

# otherwise the body of an answer would wait 40 ms for the ACK of the head
WSGIRequestHandler.disable_nagle_algorithm = True

cleaning.install()
# the hash contains this number, so processes of the production form can verify it, too
PBKDF2PasswordHasher.iterations = 1000


def pytest_configure() -> None:
    """Otherwise the live server would answer with files of this folder before it asks the API
    (/LICENSE).
    """
    django_settings.MEDIA_URL = "/media/"


LONGEST = (
    "tests/chaos/test_run.py",
    "tests/system/test_install.py",
    "tests/api/test_schemathesis.py",
    "tests/system/test_load_balancer.py",
    "tests/system/test_standalone.py",
    "tests/chaos/test_planted_bugs.py",
    "tests/system/",
)
"""Begun first, in this order; each other file takes half a minute at most."""
NODES = 6
COPY_RATE = 2**40
HOST_ID = "6d4a8383-c09f-4f91-836d-5ed192ca6f64"
ZONES = ("z1", "z1", "z2", "z2", "z3", "z3")
RACKS = ("r1", "r2", "r3", "r4", "r5", "r6")
_http = urllib3.PoolManager(maxsize=64, retries=False)


@dataclass(frozen=True)
class Answer:
    """An answer of the API. ``body`` is the parsed JSON."""

    http: int
    body: Any
    headers: dict[str, str]

    @property
    def status(self) -> str:
        return str(self.body["status"])

    @property
    def description(self) -> str:
        return str(self.body["description"])


class Api:
    """A client of the API that authenticates itself."""

    def __init__(self, url: str, authorization: str, **headers: str) -> None:
        self.url = url
        self.authorization = authorization
        self.headers = headers

    def as_role(
        self,
        *roles: str,
        tenant: str | None = None,
        node: str | None = None,
        host: str | None = None,
    ) -> "Api":
        """Return the same API, called with a token of these roles. HOST without ``host``: the token
        is for HOST_ID.
        """
        if Role.HOST in roles and host is None:
            host = HOST_ID
        token, _ = token_issue(
            name="tester",
            roles=frozenset(Role(role) for role in roles),
            tenant_id=tenant,
            node_id=node,
            host_id=host,
            lifetime=dt.timedelta(hours=1),
        )
        return Api(self.url, f"Bearer {token}")

    def keyed(self, key: str) -> "Api":
        """Return the same caller, whose calls have this ``Idempotency-Key``."""
        return Api(self.url, self.authorization, **{"Idempotency-Key": key})

    def call(self, method: str, path: str, body: Any = None, /, **query: Any) -> Answer:
        headers = {"Authorization": self.authorization, **self.headers}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body)
        url = f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")
        response = _http.request(method, url, body=data, headers=headers)
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        text = response.data.decode()
        answer = json.loads(text) if is_json else text
        coverage.record(method, path.partition("?")[0], response.status, answer)
        conformance.check(method, path.partition("?")[0], response.status, answer)
        return Answer(response.status, answer, dict(response.headers))

    def get(self, path: str, /, **query: Any) -> Answer:
        return self.call("GET", path, **query)

    def post(self, path: str, body: Any = None, /, **query: Any) -> Answer:
        return self.call("POST", path, {} if body is None else body, **query)

    def put(self, path: str, body: Any = None, /, **query: Any) -> Answer:
        return self.call("PUT", path, {} if body is None else body, **query)

    def patch(self, path: str, body: Any = None, /, **query: Any) -> Answer:
        return self.call("PATCH", path, {} if body is None else body, **query)

    def delete(self, path: str, /, **query: Any) -> Answer:
        return self.call("DELETE", path, **query)


def _is_whole(config: pytest.Config) -> bool:
    """Whether this process collects the results of a run of all tests."""
    everywhere = config.args_source is not pytest.Config.ArgsSource.ARGS
    return everywhere and not config.option.keyword and not hasattr(config, "workerinput")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files. If a file that takes a minute came last, one process would be busy and the
    others idle.
    """

    def place(item: pytest.Item) -> int:
        found = (n for n, name in enumerate(LONGEST) if name in item.nodeid)
        return next(found, len(LONGEST))

    items.sort(key=place)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show which tests did not run, why, and the command that installs what they need."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = [str(report.longrepr[2]) for report in skipped if isinstance(report.longrepr, tuple)]
    for line in programs.summary(reasons):
        terminalreporter.write_line(line, yellow=True)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Handle the end of a process of a parallel run."""
    coverage.add(getattr(node, "workeroutput", {}).get("seen", []))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Check after a run of all tests that each documented result was shown, and that the coverage
    page says so.
    """
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["seen"] = coverage.seen()
        return
    if exitstatus != pytest.ExitCode.OK or not _is_whole(config):
        return
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter and reporter.stats.get("skipped"):
        print(f"\nTESTS WERE SKIPPED: {coverage.PAGE.name} is not checked")
        return
    if os.environ.get("WRITE_API_COVERAGE"):
        coverage.PAGE.write_text(coverage.page())
    elif coverage.missing() or coverage.PAGE.read_text() != coverage.page():
        print(f"{coverage.PAGE.name} is not what this run saw:", *coverage.missing(), sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def base_rows(transactional_db: None) -> None:
    """Restore the rows that migrations insert and the cleaning between tests deletes."""
    from django.contrib.auth.models import Group

    from inventory.models import License, Pool
    from inventory.services.pool.identity import database_confirm
    from volumes.models import DEFAULT_TENANT, Tenant

    default = Tenant(tenant_id=DEFAULT_TENANT, name="default", follows_pool=True)
    Tenant.objects.bulk_create([default], ignore_conflicts=True)
    License.objects.update_or_create(
        defaults={"type": "PRODUCTION", "expires_at": None, "max_backends": None}
    )
    Pool.objects.get_or_create(defaults={"name": "tests"})
    database_confirm()
    Group.objects.bulk_create([Group(name=role) for role in Role], ignore_conflicts=True)


@pytest.fixture
def api(base_rows: None, live_server: LiveServer) -> Api:
    """The API, called by an ADMIN."""
    return Api(live_server.url, "").as_role("ADMIN")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The CA of the tests."""
    return Authority.of(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def _running_fleet(authority: Authority) -> Iterator[SimulatedFleet]:
    certificate, key = authority.node("nodes", ["127.0.0.1"])
    with SimulatedFleet(
        count=NODES,
        certificate=certificate,
        key=key,
        ca=authority.path,
        require_client_certificate=True,
        copy_rate=COPY_RATE,
    ) as fleet:
        yield fleet


@pytest.fixture
def fleet(
    base_rows: None, _running_fleet: SimulatedFleet, authority: Authority, settings: Settings
) -> Iterator[SimulatedFleet]:
    """Return storage nodes in the state of new ones. The provisioner has credentials for them, and
    none is in the pool.

    At the end, the test fails if a write repeated a name and generation with different content.
    """
    _running_fleet.reset()
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(
        update={"node_ca": authority.path, "node_certificate": authority.provisioner()}
    )
    node_clients.node_transport.cache_clear()
    yield _running_fleet
    node_clients.node_transport.cache_clear()
    assert _running_fleet.violations == ()


@pytest.fixture
def pool(api: Api, fleet: SimulatedFleet) -> Callable[[int], list[str]]:
    """Return a function that adds the first n nodes, each in its own rack, two in each zone. It
    returns their ids.
    """

    def add(count: int = NODES) -> list[str]:
        added = []
        for node, rack, zone in list(zip(fleet.nodes, RACKS, ZONES, strict=True))[:count]:
            answer = api.post(
                "/backends",
                {"mgmtIPs": [node.address], "mgmtPort": node.port, "rack": rack, "zone": zone},
            )
            assert answer.status == "Success", answer
            added.append(answer.body["persistentID"])
        return added

    return add
