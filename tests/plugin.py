"""Runs before Django's settings are read: gives the tests their servers and settings.

What the environment sets stays. ``TEST_SERVERS=private`` starts PostgreSQL and Redis for this
session alone, also where this machine runs them. Each process of a parallel run (pytest-xdist) has
a database, a Redis and a data folder of its own.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.servers import NoServer, Servers, database_name, drop_leftovers

SETTINGS = {
    "SECRET_KEY": "only-for-tests-only-for-tests-only-for-tests",
    # their authorization servers have no certificates
    "AUTH_SERVER_HTTP": "true",
    "LOG_LEVEL": "WARNING",
    "LOG_FORMAT": "text",
    "DJANGO_LIVE_TEST_SERVER_ADDRESS": "127.0.0.1",
}
NO_WAIT_FOR_DISKS = "options=-c%20synchronous_commit%3Doff"
MADE = "TEST_MADE"
"""Variables that this session set for itself: the processes of a parallel run inherit them."""


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """A wrapper, so that it runs before pytest-django reads the settings."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if "PYTEST_XDIST_WORKER" in os.environ:
        for name in os.environ.pop(MADE, "").split():
            os.environ.pop(name)
    before = set(os.environ)
    if "DATA_DIR" not in os.environ:
        os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="provisioner-tests-")
        early_config.add_cleanup(lambda: shutil.rmtree(os.environ["DATA_DIR"], ignore_errors=True))
    servers = Servers(private=os.environ.get("TEST_SERVERS") == "private")
    early_config.add_cleanup(servers.stop)
    try:
        if "DATABASE_URL" not in os.environ:
            url = servers.postgresql()
            drop_leftovers(url)
            own = urlsplit(url)._replace(path=f"/{database_name()}", query=NO_WAIT_FOR_DISKS)
            os.environ["DATABASE_URL"] = own.geturl()
        if "REDIS_URL" not in os.environ:
            os.environ["REDIS_URL"] = servers.redis()
    except NoServer as error:
        raise pytest.UsageError(str(error)) from error
    os.environ[MADE] = " ".join({"DATA_DIR", "REDIS_URL"} - before)
    return (yield)
