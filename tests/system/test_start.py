"""A setting that cannot work ends each process at its start, with one sentence."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection
from django.utils import timezone

from inventory.models import Backend, BackendAddress
from provisioner.certificates import Authority
from tests.servers import database_name, free_port
from tests.system.stack import ROOT

pytestmark = pytest.mark.django_db(transaction=True)
ENDS_WITHIN = 100.0
"""For a machine that does much else; nothing waits for longer than 2 s."""
PYTHON = sys.executable
COMMANDS = {
    "api": [PYTHON, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py"],
    "worker": [PYTHON, "-m", "celery", "-A", "provisioner", "worker", "--pool=threads"],
    "beat": [PYTHON, "-m", "celery", "-A", "provisioner", "beat"],
    "command": [PYTHON, "manage.py", "audit"],
}


def url(name: str) -> str:
    parameters = connection.settings_dict | {"NAME": name}
    return "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**parameters)


@pytest.fixture
def settings_that_work(authority: Authority) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    return inherited | {
        "DATABASE_URL": url(str(connection.settings_dict["NAME"])),
        "API_PORT": str(free_port()),
        "NODE_CA": str(authority.path),
        "NODE_CERTIFICATE": str(authority.provisioner()),
        "PUBLIC_URL": "https://127.0.0.1:443",
    }


@contextmanager
def database(options: str = "") -> Iterator[str]:
    name = f"test_{database_name()}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} {options}")
        yield url(name)
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_database() -> Iterator[str]:
    with database() as made:
        yield made


@pytest.fixture
def ascii_database() -> Iterator[str]:
    """As Debian's packages create it if the system has no locale."""
    with database("TEMPLATE template0 ENCODING SQL_ASCII LOCALE 'C'") as made:
        yield made


@pytest.fixture
def deaf() -> Iterator[str]:
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"postgresql://u:never-shown@127.0.0.1:{listener.getsockname()[1]}/x"


def refuses(role: str, settings: dict[str, str], sentence: str) -> None:
    done = subprocess.run(
        COMMANDS[role],
        cwd=ROOT,
        env=settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=ENDS_WITHIN,
    )
    said = [line for line in done.stderr.splitlines() if line.startswith("provisioner: ")]
    assert done.returncode == 1, done
    assert len(said) == 1, done.stderr
    assert said[0].startswith(f"provisioner: cannot start: {sentence}")
    assert said[0].endswith(".")
    assert "Traceback" not in done.stderr
    assert "never-shown" not in done.stderr


@pytest.mark.parametrize("role", ["api", "worker", "beat"])
def test_a_start_without_credentials_for_nodes_is_refused(
    role: str, settings_that_work: dict[str, str]
) -> None:
    wrong = settings_that_work | {"NODE_CERTIFICATE": ""}
    refuses(role, wrong, "NODE_CERTIFICATE is not set")


def test_credentials_for_nodes_that_cannot_be_read_are_refused(
    settings_that_work: dict[str, str],
) -> None:
    wrong = settings_that_work | {"NODE_CA": "/nowhere/ca.pem"}
    refuses("worker", wrong, "[Errno 2] No such file or directory: '/nowhere/ca.pem'")


@pytest.mark.parametrize("role", COMMANDS)
def test_a_start_without_a_reachable_database_is_refused(
    role: str, settings_that_work: dict[str, str]
) -> None:
    wrong = settings_that_work | {"DATABASE_URL": "postgresql://u:never-shown@127.0.0.1:1/x"}
    refuses(role, wrong, "the database cannot be used: connection ")


def test_a_database_that_does_not_answer_ends_the_start_in_time(
    settings_that_work: dict[str, str], deaf: str
) -> None:
    wrong = settings_that_work | {"DATABASE_URL": deaf}
    refuses("api", wrong, "the database cannot be used: connection timeout expired")


@pytest.mark.parametrize("role", ["api", "worker"])
def test_a_database_without_migrations_is_refused(
    role: str, settings_that_work: dict[str, str], empty_database: str
) -> None:
    wrong = settings_that_work | {"DATABASE_URL": empty_database}
    refuses(role, wrong, "the database lacks ")


@pytest.mark.parametrize("role", COMMANDS)
def test_a_database_with_another_encoding_than_utf8_is_refused(
    role: str, settings_that_work: dict[str, str], ascii_database: str
) -> None:
    wrong = settings_that_work | {"DATABASE_URL": ascii_database}
    refuses(role, wrong, "the database of DATABASE_URL has server_encoding SQL_ASCII, but must ")


def test_a_start_without_public_url_is_refused(settings_that_work: dict[str, str]) -> None:
    refuses("worker", settings_that_work | {"PUBLIC_URL": ""}, "PUBLIC_URL is not set")


@pytest.mark.parametrize("here", ["https://127.0.0.1", "https://localhost:30100", "https://[::1]"])
def test_a_local_public_url_is_refused_if_nodes_are_elsewhere(
    here: str, settings_that_work: dict[str, str]
) -> None:
    now = timezone.now()
    backend = Backend.objects.create(
        persistent_id="far-away",
        total_iops=1,
        total_bw=1,
        probe_interval=60,
        available_until=now,
        refreshed_at=now,
        token_expires_at=now,
    )
    BackendAddress.objects.create(backend=backend, position=0, address="10.0.0.11", port=443)
    wrong = settings_that_work | {"PUBLIC_URL": here}
    refuses("beat", wrong, f"PUBLIC_URL is {here}, which the node at 10.0.0.11 cannot reach")
