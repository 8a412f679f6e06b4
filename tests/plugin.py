"""Starts the servers of the tests and sets their settings, before Django reads its settings.

PostgreSQL and Redis are started for this session only. Servers, databases and folders of this
machine are not touched, even if DATABASE_URL or another variable of a production system names them.
Only TEST_DATABASE_URL selects another database for the tests, such as SQLite. Each process of a
parallel run (pytest-xdist) has its own database, Redis and data folder.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from provisioner.environment import Environment, variable_name
from tests.servers import NoServer, Servers, database_name

SETTINGS = {
    "SECRET_KEY": "only-for-tests-only-for-tests-only-for-tests",
    # authorization servers of the tests have no certificates
    "AUTH_SERVER_HTTP": "true",
    "LOG_LEVEL": "WARNING",
    "LOG_FORMAT": "text",
    "DJANGO_LIVE_TEST_SERVER_ADDRESS": "127.0.0.1",
}
NO_WAIT_FOR_DISKS = "options=-c%20synchronous_commit%3Doff"
MADE = "TEST_MADE"
"""The database's URL, for the processes of a parallel run: one server is enough for all."""


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """Start the servers. This is a wrapper, so that it runs before pytest-django reads the
    settings.
    """
    inherited = os.environ.pop(MADE, "") if "PYTEST_XDIST_WORKER" in os.environ else ""
    for field in Environment.model_fields:
        os.environ.pop(variable_name(field), None)
    os.environ.update(SETTINGS)
    # otherwise each of the hundreds of processes would compile our modules again
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["DATA_DIR"] = data = tempfile.mkdtemp(prefix="provisioner-tests-")
    early_config.add_cleanup(lambda: shutil.rmtree(data, ignore_errors=True))
    servers = Servers()
    early_config.add_cleanup(servers.stop)
    try:
        given = inherited or os.environ.get("TEST_DATABASE_URL")
        os.environ["DATABASE_URL"] = os.environ[MADE] = given or _own(servers.postgresql())
        os.environ["REDIS_URL"] = servers.redis()
    except NoServer as error:
        raise pytest.UsageError(str(error)) from error
    return (yield)


def _own(url: str) -> str:
    """Return the URL of a database that does not exist yet."""
    return urlsplit(url)._replace(path=f"/{database_name()}", query=NO_WAIT_FOR_DISKS).geturl()
