"""The fake target behaves as measured of SPDK's JSON-RPC server: framing, ids, parameters."""

import asyncio
import contextlib
import socket
import time
from pathlib import Path

import pytest

from tests.spdk.client import Client
from tests.spdk.running import NearTarget, RunningTarget

VERSION = '{"jsonrpc":"2.0","id":%s,"method":"spdk_get_version"}'


@pytest.mark.parametrize("call_id", ["1", '"a"', "5.5"])
def test_replies_carry_the_id_of_their_request(call: Client, call_id: str) -> None:
    reply = call.raw(VERSION % call_id)
    assert reply["id"] in {1, "a", 5.5}
    assert reply["result"]["fields"]["major"] == 26


def test_a_notification_is_answered_only_with_an_error(call: Client, drive: Path) -> None:
    made = '{"method":"bdev_aio_create","params":{"name":"a","filename":"%s"}%s}'
    call.silent(made % (drive, ""))
    call.silent(made.replace('"a"', '"b"') % (drive, ',"id":null'))
    assert [bdev["name"] for bdev in call("bdev_get_bdevs")] == ["a", "b"]
    reply = call.raw(made % (drive, ""))
    assert (reply["id"], reply["error"]["code"]) == (None, -17)


@pytest.mark.parametrize(
    "text",
    [
        VERSION % "true",
        VERSION % "[1]",
        '{"jsonrpc":"1.0","id":1,"method":"spdk_get_version"}',
        '{"id":1,"method":"spdk_get_version","more":1}',
        '{"id":1,"method":"spdk_get_version","params":"text"}',
        '{"id":1}',
        "[]",
    ],
)
def test_invalid_requests_are_refused(call: Client, text: str) -> None:
    assert call.raw(text)["error"]["code"] == -32600


@pytest.mark.parametrize("text", ["no json", VERSION % 1 + "}", '{"id":1,}'])
def test_malformed_json_closes_the_connection(call: Client, text: str) -> None:
    assert call.raw(text) is None


def test_incomplete_json_is_awaited(call: Client) -> None:
    text = VERSION % 7
    for cut in (1, 9, 20, 31, len(text) - 1):
        call.silent(text[:cut])
        assert call.raw(text[cut:])["id"] == 7


def test_a_large_request_resets_the_connection(call: Client) -> None:
    assert call.raw('{"id":1,"method":"%s"}' % ("x" * 2**18)) is None


def test_a_batch_is_answered_as_measured(call: Client) -> None:
    replies = call.raw(f"[{VERSION % 1},{VERSION % 'null'},{VERSION % 2}]")
    assert [reply["id"] for reply in replies] == [1, 2]


def test_replies_may_come_in_another_order(drive: Path) -> None:
    slow = RunningTarget(poll=0.004)
    call = Client(slow.socket)
    first = f'{{"id":1,"method":"bdev_aio_create","params":{{"name":"a","filename":"{drive}"}}}}'
    found = call.raw(first + VERSION % 2, replies=2)
    assert [reply["id"] for reply in found] == [2, 1]
    started = time.monotonic()
    call("bdev_aio_delete", name="a")
    assert time.monotonic() - started >= 0.008
    call.close()
    slow.close()


def test_connections_beyond_64_wait(target: RunningTarget, call: Client) -> None:
    clients = [Client(target.socket) for _ in range(64)]
    for client in clients:
        client("spdk_get_version")
    late = socket.socket(socket.AF_UNIX)
    late.connect(str(target.socket))
    late.sendall((VERSION % 1).encode())
    late.settimeout(0.1)
    with pytest.raises(TimeoutError):
        late.recv(1)
    clients[0].close()
    late.settimeout(10)
    assert late.recv(1) == b"{"
    late.close()
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"name": "a"}, -32603),
        ({"name": "a", "num_blocks": 8, "block_size": 512, "more": 1}, -32603),
        ({"name": None, "num_blocks": 8, "block_size": 512}, -32603),
        ({"num_blocks": "8", "block_size": 512}, -32603),
        ({"num_blocks": 10.5, "block_size": 512}, -32603),
        ({"num_blocks": -1, "block_size": 512}, -32603),
        ({"num_blocks": True, "block_size": 512}, -32603),
    ],
)
def test_parameters_are_strict(call: Client, params: dict[str, object], code: int) -> None:
    call.fails(code, "bdev_malloc_create", **params)
    assert call("bdev_get_bdevs") == []


def test_numbers_are_accepted_as_measured(call: Client) -> None:
    assert call("bdev_malloc_create", num_blocks=8.0, block_size=512)
    twice = '{"id":1,"method":"bdev_get_bdevs","params":{"name":"a","name":"a"}}'
    assert call.raw(twice)["error"]["code"] == -32603
    address = {"trtype": "TCP", "traddr": "127.0.0.1", "trsvcid": 4420}
    nqn = "nqn.2022-08.com.kioxia:t"
    call("nvmf_create_subsystem", nqn=nqn)
    call.fails(-32602, "nvmf_subsystem_add_listener", nqn=nqn, listen_address=address)
    call.fails(-32700, "bdev_raid_create", name="r", raid_level="concat", base_bdevs="m")
    call.fails(-32601, "save_config")


def test_empty_parameters_differ_from_none(call: Client) -> None:
    empty = '{"id":1,"method":"%s","params":{}}'
    for method, code in (
        ("spdk_get_version", -32602),
        ("bdev_lvol_get_lvstores", -22),
        ("bdev_lvol_get_lvols", -22),
    ):
        assert call.raw(empty % method)["error"]["code"] == code
        call(method)
    for method in ("bdev_get_bdevs", "nvmf_get_subsystems"):
        assert "result" in call.raw(empty % method)


def test_calls_before_the_start_are_refused(target: RunningTarget, call: Client) -> None:
    target.kill()
    target.start(init_seconds=0.2)
    assert "bdev_lvol_create" in call("rpc_get_methods")
    assert "initialized" in call.fails(-1, "bdev_get_bdevs")
    assert call("framework_wait_init") is True
    assert call("bdev_get_bdevs") == []


def test_a_call_goes_on_without_its_client(target: RunningTarget, call: Client) -> None:
    target.delay("bdev_malloc_create", 0.1)
    other = socket.socket(socket.AF_UNIX)
    other.connect(str(target.socket))
    other.sendall(
        b'{"id":1,"method":"bdev_malloc_create","params":{"num_blocks":8,"block_size":512}}'
    )
    other.close()
    deadline = time.monotonic() + 10
    while not call("bdev_get_bdevs"):
        assert time.monotonic() < deadline


@pytest.mark.parametrize("turns", range(3, 6))
def test_a_killed_target_answers_nothing(turns: int) -> None:
    """Not even on a connection that it accepted just before, ``turns`` of its event loop ago."""

    async def steps() -> None:
        target = NearTarget()
        await target.start()
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            client.connect(str(target.socket))
            client.sendall((VERSION % 1).encode())
            for _ in range(turns):
                await asyncio.sleep(0)
            await target.restart()
            async with asyncio.timeout(30):
                with contextlib.suppress(ConnectionResetError):
                    assert await asyncio.get_running_loop().sock_recv(client, 1) == b""
        target.close()

    asyncio.run(steps())
