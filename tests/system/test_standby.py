"""A failover to a standby while everything runs. Calls are refused while the standby accepts no
writes. As soon as it does, writes continue by themselves.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from inventory.nodes.engines.simulated import SimulatedFleet
from tests import servers
from tests.programs import tool
from tests.system.stack import Stack

pytestmark = pytest.mark.timeout(600)
Call = Callable[..., dict[str, Any]]
GIVE_UP_SECONDS = 180.0
"""Bounds what never comes; how long it takes is printed."""


@pytest.fixture
def stack() -> Iterator[Stack]:
    tool("haproxy")
    running = Stack({"UNREADY_SECONDS": "0"}, each=1)
    yield running
    running.stop()


@pytest.fixture
def call(stack: Stack) -> Call:
    token = stack.manage("token_create", "--name=x", "--role=ADMIN", "--expiration=3600")
    headers = {"Authorization": f"Bearer {token.strip()}", "X-SSL-Client-Verify": "SUCCESS"}
    http = stack.pool()

    def answered(method: str, path: str, body: object = None) -> dict[str, Any]:
        url = stack.api_urls[0] + path
        answer = http.request(method, url, json=body, headers=headers, timeout=30)
        return dict(answer.json()) | {"http": answer.status}

    return answered


def test_writes_continue_after_a_standby_took_over(stack: Stack, call: Call) -> None:
    certificate, key = stack.authority.node("nodes", ["127.0.0.1"])
    port = servers.free_port()
    with SimulatedFleet(
        1,
        certificate=certificate,
        key=key,
        ca=stack.authority.path,
        require_client_certificate=True,
        base_port=port,
    ) as fleet:
        body = {"mgmtIPs": ["127.0.0.1"], "mgmtPort": port}
        assert call("POST", "/backends", body)["status"] == "Success"
        assert created(call, "before")["status"] == "Success"
        become_standby(stack)
        until(call, "during", "read-only", GIVE_UP_SECONDS)
        promote(stack)
        began = time.monotonic()
        seen = until(call, "after", "Success", GIVE_UP_SECONDS)
        print(f"written to again after {time.monotonic() - began:.1f} s; before that: {seen}")
        # the nodes may have been read before the first call
        assert "a standby took over without a lost commit" in stack.periodic[0].log.read_text()
        assert sorted(fleet.nodes[0].volumes()) == ["after", "before"]
        assert "nothing was changed" in stack.manage("database_restored")
        assert stack.manage("audit").strip() == "0 differences"


def created(call: Call, name: str) -> dict[str, Any]:
    return call("POST", "/volumes", {"alias": name, "uuid": name, "capacity": 1})


def until(call: Call, name: str, text: str, seconds: float) -> list[str]:
    """Create a volume until the answer has the text. Returns the texts of the earlier answers."""
    end = time.monotonic() + seconds
    seen: list[str] = []
    while True:
        answer = created(call, name)
        if text in f"{answer['status']} {answer['description']}":
            return seen
        assert answer["http"] == 503, answer
        seen.append(answer["description"])
        assert time.monotonic() < end, seen[-1]
        time.sleep(0.2)


def become_standby(stack: Stack) -> None:
    """Turn the server into a standby, which has all commits and accepts no writes."""
    stack.postgres.terminate()
    (stack.folder / "postgres" / "data" / "standby.signal").touch()
    stack.postgres.start()
    stack.postgres.ready()


def promote(stack: Stack) -> None:
    """Promote the standby. It then has a new timeline."""
    with psycopg.connect(stack.postgres.url, autocommit=True) as connection:
        connection.execute("SELECT pg_promote()")
