"""Connections on which no answer arrives any more, though the TCP session lives. New ones work."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import OperationalError, connections

from provisioner.common import following
from provisioner.common.database import UNREACHABLE, unavailable
from provisioner.common.postgresql import answers
from tests.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)
IDLE = 12


class Proxy:
    """Forwards TCP sessions. Those that exist when ``silence`` is called forward no more."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._silent = threading.Event()
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=32)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self) -> None:
        self._silent.set()
        self._silent = threading.Event()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server, silent = socket.create_connection(self._server), self._silent
                self._ends += [client, server]
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=_forward, args=(*ends, silent), daemon=True).start()


def _forward(source: socket.socket, to: socket.socket, silent: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            if not silent.is_set():
                to.sendall(data)
        if not silent.is_set():
            to.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Lies between this process and its database."""
    default: Any = connections["default"]
    if default.vendor != "postgresql":
        pytest.skip("PostgreSQL only")
    default.ensure_connection()
    info = default.connection.info
    if info.host.startswith("/"):
        pytest.skip("the server is reached through a socket file")
    monkeypatch.setattr(answers, "ANSWER_SECONDS", 2.0)
    monkeypatch.setattr(answers, "PROOF_SECONDS", 0.5)
    between = Proxy((info.host, info.port))
    default.close()
    default.close_pool()
    place = default.settings_dict
    with monkeypatch.context() as patch:
        patch.setitem(place, "HOST", "127.0.0.1")
        patch.setitem(place, "PORT", between.port)
        yield between
        default.close()
        default.close_pool()
    between.close()


def execute(statement: str) -> None:
    with contextlib.closing(connections["default"]) as mine, mine.cursor() as cursor:
        cursor.execute(statement)


def test_idle_connections_that_went_deaf_are_all_replaced_at_once(proxy: Proxy) -> None:
    with ThreadPoolExecutor(IDLE) as threads:
        list(threads.map(execute, ["SELECT pg_sleep(0.3)"] * IDLE))
    proxy.silence()
    began = time.monotonic()
    for _ in range(2 * IDLE):
        execute("SELECT 1")
    assert time.monotonic() - began < 4


def test_a_statement_without_an_answer_ends_and_the_process_works_again(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "ANSWER_SECONDS", 5.0)
    execute("SELECT 1")
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(execute, "SELECT pg_sleep(1)")
        time.sleep(0.5)
        proxy.silence()
        began = time.monotonic()
        execute("SELECT 1")
        assert time.monotonic() - began < 3
        with pytest.raises(OperationalError) as raised:
            waiting.result(30)
    assert isinstance(raised.value.__cause__, answers.NoAnswer)
    assert unavailable(raised.value) == UNREACHABLE
    execute("SELECT 1")


def test_a_thread_that_keeps_data_fresh_waits_shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    if connections["default"].vendor != "postgresql":
        pytest.skip("PostgreSQL only")
    monkeypatch.setattr(following, "ANSWER_SECONDS", 0.5)
    steps: list[float] = []

    def step() -> None:
        steps.append(time.monotonic())
        execute("SELECT pg_sleep(60)")

    end = following.follow(step)
    eventually(lambda: len(steps) > 1, seconds=30, what="it waits for the answer")
    end()


def test_a_connection_without_a_pool_is_replaced(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine: Any = connections["default"]
    monkeypatch.delitem(mine.settings_dict["OPTIONS"], "pool")
    monkeypatch.setitem(mine.settings_dict, "CONN_HEALTH_CHECKS", True)
    mine.cursor().execute("SELECT 1")
    proxy.silence()
    assert not mine.is_usable()
    mine.close()
    mine.cursor().execute("SELECT 1")
    mine.close()


def test_a_statement_of_a_command_may_take_any_time(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "ANSWER_SECONDS", 0.2)
    with answers.unlimited():
        execute("SELECT pg_sleep(0.4)")
    with pytest.raises(OperationalError):
        execute("SELECT pg_sleep(0.4)")
