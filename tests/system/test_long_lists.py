"""Long lists through the shipped load balancer: complete, or visibly broken."""

import json
from collections.abc import Iterator

import psycopg
import pytest
import urllib3

from tests.programs import tool
from tests.system.stack import Stack

pytestmark = pytest.mark.timeout(600)
ROWS = 3000
MADE = f"""
from volumes.models import Volume
Volume.objects.bulk_create(
    Volume(
        uuid=f"v-{{n:06}}", alias=f"v-{{n:06}}", tenant_id="0", capacity_bytes=2**30,
        claimed_bytes=2**30, num_replicas=1, provisioning_type="THICK", protocol="NVMeoF",
        block_size=4096, state="READY",
    )
    for n in range({ROWS})
)
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    tool("haproxy")
    running = Stack(each=1)
    try:
        running.manage("shell", "-c", MADE)
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def headers(stack: Stack) -> dict[str, str]:
    token = stack.manage("token_create", "--name=t", "--role=ADMIN", "--expiration=3600").strip()
    return {"Authorization": f"Bearer {token}"}


def test_a_long_list_arrives_complete(stack: Stack, headers: dict[str, str]) -> None:
    with stack.pool() as http:
        answer = http.request("GET", f"{stack.url}/volumes", headers=headers)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert [each["uuid"] for each in json.loads(answer.data)] == [f"v-{n:06}" for n in range(ROWS)]


def test_a_list_starts_before_its_last_row_is_made_and_is_incomplete_if_that_fails(
    stack: Stack, headers: dict[str, str]
) -> None:
    last_has_blocks_of(stack, 1234)
    with stack.pool() as http:
        answer = http.request("GET", f"{stack.url}/volumes", headers=headers, preload_content=False)
        assert (answer.status, answer.read(1)) == (200, b"[")
        with pytest.raises(urllib3.exceptions.ProtocolError):
            answer.read()
    last_has_blocks_of(stack, 4096)
    with stack.pool() as http:
        answer = http.request("GET", f"{stack.url}/volumes", headers=headers)
    assert len(json.loads(answer.data)) == ROWS


def last_has_blocks_of(stack: Stack, size: int) -> None:
    """Set the block size of the last row. A row with 1234 cannot be serialized."""
    statement = "UPDATE volumes_volume SET block_size = %s WHERE uuid = %s"
    with psycopg.connect(stack.postgres.url, autocommit=True) as connection:
        connection.execute(statement, [size, f"v-{ROWS - 1:06}"])
