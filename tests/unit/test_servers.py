"""The private servers of a test session start and stop. If they cannot, one line says what to
install.
"""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from tests import servers
from tests.servers import NoServer, Servers


@pytest.fixture
def private() -> Iterator[Servers]:
    found = Servers()
    yield found
    found.stop()


def test_private_servers_run_until_they_are_stopped(private: Servers) -> None:
    postgresql, broker = private.postgresql(), private.redis()
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("CREATE DATABASE another")
    assert redis.Redis.from_url(broker).ping()
    private.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgresql)
    with pytest.raises(redis.ConnectionError):
        redis.Redis.from_url(broker).ping()


def test_wheels_bring_the_programs(private: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "INSTALLED_POSTGRESQL", Path("/nowhere"))
    monkeypatch.setenv("PATH", "")
    with psycopg.connect(private.postgresql()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert redis.Redis.from_url(private.redis()).ping()


def test_without_any_program_one_line_says_what_to_install(
    private: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "INSTALLED_POSTGRESQL", Path("/nowhere"))
    monkeypatch.setattr(servers, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    install = "run `make test`, which brings both, or install postgresql and redis-server"
    with pytest.raises(NoServer) as refused:
        private.postgresql()
    assert str(refused.value) == f"no PostgreSQL here: {install}"
    with pytest.raises(NoServer) as refused:
        private.redis()
    assert str(refused.value) == f"no Redis here: {install}"
