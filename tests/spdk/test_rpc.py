"""The client for SPDK's socket, against the fake target."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from inventory.nodes.engines.spdk import rpc_stream
from inventory.nodes.engines.spdk.required_methods import NEEDED
from inventory.nodes.engines.spdk.rpc import NOT_SENT, RpcLost, RpcRefused, SpdkRpc
from tests.spdk.running import RunningTarget

Use = Callable[[SpdkRpc], Awaitable[None]]


@asynccontextmanager
async def opened(path: Path, **options: float) -> AsyncIterator[SpdkRpc]:
    rpc = SpdkRpc(path, **options)  # type: ignore[arg-type]
    await rpc.ready(within=10)
    yield rpc
    rpc.close()


def run(target: RunningTarget, use: Use, **options: float) -> None:
    async def inside() -> None:
        async with opened(target.socket, **options) as rpc:
            await use(rpc)

    asyncio.run(inside())


def test_many_calls_share_the_connections(target: RunningTarget) -> None:
    async def use(rpc: SpdkRpc) -> None:
        calls = [
            rpc.call("bdev_malloc_create", name=f"m{n}", num_blocks=8, block_size=512, uuid=None)
            for n in range(200)
        ]
        assert await asyncio.gather(*calls) == [f"m{n}" for n in range(200)]
        assert len(await rpc.call("bdev_get_bdevs")) == 200
        assert "bdev_lvol_create" in await rpc.methods()
        await rpc.methods()
        assert target.target.calls.count("rpc_get_methods") == 1

    run(target, use, connections=2)


def test_an_error_reply_raises_a_refusal(target: RunningTarget) -> None:
    async def use(rpc: SpdkRpc) -> None:
        with pytest.raises(RpcRefused) as caught:
            await rpc.call("bdev_get_bdevs", name="none")
        assert (caught.value.code, caught.value.method) == (-19, "bdev_get_bdevs")
        with pytest.raises(RpcRefused, match="262144") as caught:
            await rpc.call("bdev_get_bdevs", name="x" * 2**18)
        assert caught.value.code == NOT_SENT
        assert await rpc.call("bdev_get_bdevs") == []

    run(target, use)


def test_missing_methods_are_named(target: RunningTarget) -> None:
    async def use(rpc: SpdkRpc) -> None:
        await rpc.demand(NEEDED)
        with pytest.raises(RpcRefused, match=r"this SPDK lacks bdev_fly$"):
            await rpc.demand({"bdev_fly", "bdev_lvol_create"})

    run(target, use)
    sources = Path(rpc_stream.__file__).parent.glob("*.py")
    text = "".join(one.read_text() for one in sources if one.name != "methods.py")
    named = set(re.findall(r'"((?:bdev|framework|nvmf|rpc|spdk)_\w+)"', text))
    assert named - {"bdev_name"} == NEEDED


def test_a_late_answer_is_ignored(target: RunningTarget) -> None:
    async def use(rpc: SpdkRpc) -> None:
        target.delay("bdev_malloc_create", 0.3)
        with pytest.raises(RpcLost, match="bdev_malloc_create: no answer"):
            await rpc.call("bdev_malloc_create", num_blocks=8, block_size=512, timeout=0.01)
        await asyncio.sleep(0.35)
        assert len(await rpc.call("bdev_get_bdevs")) == 1
        assert not rpc.is_lost

    run(target, use, connections=1)


def test_calls_fail_until_a_new_process_is_ready(target: RunningTarget) -> None:
    async def use(rpc: SpdkRpc) -> None:
        target.delay("bdev_malloc_create", 60)
        call = asyncio.create_task(rpc.call("bdev_malloc_create", num_blocks=8, block_size=512))
        while "bdev_malloc_create" not in target.target.calls:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(target.restart)
        await rpc.lost()
        for lost in (call, rpc.call("bdev_get_bdevs")):
            with pytest.raises(RpcLost):
                await lost
        await rpc.ready(within=10)
        assert await rpc.call("bdev_get_bdevs") == []
        await rpc.methods()
        assert target.target.calls.count("rpc_get_methods") == 1

    run(target, use)


def test_ready_waits_for_the_start(target: RunningTarget) -> None:
    target.kill()
    with pytest.raises(RpcLost, match=r"not ready within 0\.2 s"):
        asyncio.run(SpdkRpc(target.socket).ready(within=0.2))
    target.start(init_seconds=0.2)

    async def use(rpc: SpdkRpc) -> None:
        assert await rpc.call("bdev_get_bdevs") == []

    run(target, use)


@pytest.mark.parametrize(
    "answer",
    [b'{"id":null,"error":{"code":-32600,"message":"?"}}', b"[]", b'{"id":1}\xff', b""],
)
def test_an_invalid_answer_loses_the_connection(tmp_path: Path, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = json.loads(await reader.read(2**16))
        writer.write(json.dumps({"id": call["id"], "result": True}).encode()[:-1])
        await writer.drain()
        writer.write(b"}")
        await reader.read(2**16)
        writer.write(answer)
        writer.close()

    async def inside() -> None:
        server = await asyncio.start_unix_server(serve, str(tmp_path / "s"))
        async with opened(tmp_path / "s", connections=1) as rpc:
            with pytest.raises(RpcLost):
                await rpc.call("spdk_get_version", timeout=5)
            assert rpc.is_lost
        server.close()

    asyncio.run(inside())
