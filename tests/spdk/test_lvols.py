"""The fake target behaves as measured of SPDK's lvstores and logical volumes."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.spdk.client import Client
from tests.spdk.host import Host
from tests.spdk.running import RunningTarget
from tests.spdk.seen import HOST, NQN, export

MIB = 2**20
PATTERN = b"A" * 4096


@pytest.fixture
def store(call: Client, drive: Path) -> str:
    call("bdev_aio_create", name="ssd", filename=str(drive), block_size=4096)
    call("bdev_lvol_create_lvstore", bdev_name="ssd", lvs_name="lvs")
    return "lvs"


def lvol(call: Client, name: str, mib: int = 8, **more: Any) -> str:
    return str(call("bdev_lvol_create", lvs_name="lvs", lvol_name=name, size_in_mib=mib, **more))


def shown(call: Client, name: str) -> dict[str, Any]:
    [found] = call("bdev_get_bdevs", name=name)
    return dict(found)


def free(call: Client) -> int:
    [found] = call("bdev_lvol_get_lvstores")
    return int(found["free_clusters"])


@pytest.mark.parametrize(("cluster", "count"), [(4 * MIB, 1022), (MIB, 4079)])
def test_an_lvstore_has_the_measured_number_of_clusters(
    call: Client, drive: Path, cluster: int, count: int
) -> None:
    call("bdev_aio_create", name="ssd", filename=str(drive), block_size=4096)
    call("bdev_lvol_create_lvstore", bdev_name="ssd", lvs_name="lvs", cluster_sz=cluster)
    [found] = call("bdev_lvol_get_lvstores")
    assert (found["total_data_clusters"], found["free_clusters"]) == (count, count)
    call.fails(-1, "bdev_lvol_create_lvstore", bdev_name="ssd", lvs_name="other")
    assert shown(call, "ssd")["claimed"] is True


def test_lvol_sizes_are_rounded_up_to_clusters(call: Client, store: str) -> None:
    uuid = lvol(call, "a", 101)
    found = shown(call, "lvs/a")
    assert (found["name"], found["uuid"]) == (uuid, uuid)
    assert found["num_blocks"] * found["block_size"] == 104 * MIB
    assert free(call) == 1022 - 26
    call.fails(-19, "bdev_get_bdevs", name="a")
    assert shown(call, lvol(call, "empty", 0))["num_blocks"] == 0
    wrapped = shown(call, lvol(call, "wrapped", 17592186044417))
    assert wrapped["num_blocks"] * wrapped["block_size"] == 4 * MIB
    lvol(call, "thin", 100_000, thin_provision=True)
    assert "No space" in call.fails(
        -32602, "bdev_lvol_create", lvs_name="lvs", lvol_name="b", size_in_mib=4096
    )
    call.fails(-17, "bdev_lvol_create", lvs_name="lvs", lvol_name="a", size_in_mib=1)
    call.fails(-19, "bdev_lvol_create", lvs_name="none", lvol_name="a", size_in_mib=1)


def test_a_resize_can_shrink_an_lvol(call: Client, store: str) -> None:
    lvol(call, "a", 16)
    for mib, clusters in ((32, 8), (4, 1), (0, 0)):
        assert call("bdev_lvol_resize", name="lvs/a", size_in_mib=mib) is True
        assert free(call) == 1022 - clusters
    call.fails(-32602, "bdev_lvol_resize", name="lvs/a", size_in_mib=5000)


def test_snapshots_and_clones_behave_as_measured(call: Client, store: str) -> None:
    a = lvol(call, "a", 8)
    snapshot = call("bdev_lvol_snapshot", lvol_name=a, snapshot_name="s")
    found = shown(call, a)["driver_specific"]["lvol"]
    assert found["thin_provision"] is True
    assert (found["num_allocated_clusters"], found["base_snapshot"]) == (0, "s")
    call.fails(-32602, "bdev_lvol_snapshot", lvol_name=snapshot, snapshot_name="t")
    call.fails(-32602, "bdev_lvol_snapshot", lvol_name=a, snapshot_name="s")
    call.fails(-32602, "bdev_lvol_clone", snapshot_name=a, clone_name="c")
    call.fails(-32602, "bdev_lvol_resize", name="lvs/s", size_in_mib=16)
    call("bdev_lvol_clone", snapshot_name="lvs/s", clone_name="c")
    assert shown(call, "lvs/s")["driver_specific"]["lvol"]["clones"] == ["a", "c"]
    call.fails(-32603, "bdev_lvol_delete", name="lvs/s")
    call("bdev_lvol_inflate", name="lvs/c")
    assert shown(call, "lvs/c")["driver_specific"]["lvol"]["clone"] is False
    assert free(call) == 1022 - 4
    assert call("bdev_lvol_delete", name="lvs/s") is True
    assert shown(call, a)["driver_specific"]["lvol"]["num_allocated_clusters"] == 2
    assert free(call) == 1022 - 4


def test_decoupling_leaves_the_layers_below(call: Client, store: str) -> None:
    lvol(call, "a", 8)
    call("bdev_lvol_snapshot", lvol_name="lvs/a", snapshot_name="s")
    call("bdev_lvol_snapshot", lvol_name="lvs/a", snapshot_name="t")
    call("bdev_lvol_decouple_parent", name="lvs/a")
    found = shown(call, "lvs/a")["driver_specific"]["lvol"]
    assert (found["base_snapshot"], found["num_allocated_clusters"]) == ("s", 0)
    call("bdev_lvol_set_parent", lvol_name="lvs/a", parent_name="lvs/t")
    assert shown(call, "lvs/a")["driver_specific"]["lvol"]["base_snapshot"] == "t"


@pytest.mark.parametrize(
    ("has_unmap", "first", "second", "reads"),
    [
        (False, {}, {}, "all"),
        (False, {}, {"thin_provision": True}, "none"),
        (False, {}, {"thin_provision": True, "is_written": True}, "rest"),
        (False, {}, {"clear_method": "write_zeroes"}, "all"),
        (False, {"clear_method": "write_zeroes"}, {}, "none"),
        (True, {}, {}, "none"),
        (True, {"clear_method": "none"}, {}, "all"),
    ],
)
def test_old_data_is_readable_as_measured_after_a_delete(
    call: Client,
    drive: Path,
    has_unmap: bool,
    first: dict[str, Any],
    second: dict[str, Any],
    reads: str,
) -> None:
    create = {"name": "ssd", "filename": str(drive), "block_size": 4096, "fallocate": has_unmap}
    call("bdev_aio_create", **create)
    call("bdev_lvol_create_lvstore", bdev_name="ssd", lvs_name="lvs")
    lvol(call, "a", 4, **first)
    port = export(call, "lvs/a")
    with Host("127.0.0.1", port, NQN, HOST) as host:
        for offset in range(0, 4 * MIB, 4096):
            host.write(1, offset, PATTERN)
    call("bdev_lvol_delete", name="lvs/a")
    second = dict(second)
    is_written = second.pop("is_written", False)
    lvol(call, "b", 4, **second)
    call(
        "nvmf_subsystem_add_ns",
        nqn=NQN,
        namespace={"bdev_name": "lvs/b", "nsid": 1},
    )
    with Host("127.0.0.1", port, NQN, HOST) as host:
        if is_written:
            host.write(1, 0, b"B" * 4096)
        found = host.read(1, 0, 4 * MIB)
    head = {"all": PATTERN, "none": bytes(4096), "rest": b"B" * 4096}[reads]
    rest = bytes(4096) if reads == "none" else PATTERN
    assert found == head + rest * (4 * MIB // 4096 - 1)


def test_lvols_survive_a_restart(target: RunningTarget, call: Client, drive: Path) -> None:
    create = {"filename": str(drive), "block_size": 4096}
    call("bdev_aio_create", name="ssd", **create)
    call("bdev_lvol_create_lvstore", bdev_name="ssd", lvs_name="lvs")
    lvol(call, "a", 8)
    call("bdev_lvol_snapshot", lvol_name="lvs/a", snapshot_name="s")
    call("bdev_set_qos_limit", name="lvs/a", rw_ios_per_sec=1500)
    assert shown(call, "lvs/a")["assigned_rate_limits"]["rw_ios_per_sec"] == 2000
    call.fails(-22, "bdev_set_qos_limit", name="lvs/a")
    lvols = call("bdev_lvol_get_lvols")
    target.restart()
    call.close()
    assert call("bdev_get_bdevs") == []
    call("bdev_aio_create", name="other-name", **create)
    assert call("bdev_lvol_get_lvols") == lvols
    assert shown(call, "lvs/a")["assigned_rate_limits"]["rw_ios_per_sec"] == 0
    assert call("bdev_aio_delete", name="other-name") is True
    assert call("bdev_get_bdevs") == []


def test_an_lvstore_grows_with_its_device(call: Client, store: str, drive: Path) -> None:
    os.truncate(drive, 8 * 2**30)
    call("bdev_aio_rescan", name="ssd")
    call("bdev_lvol_grow_lvstore", lvs_name="lvs")
    assert free(call) == 1022 + 1024


def test_an_lvstore_with_lvols_can_be_deleted(call: Client, store: str) -> None:
    lvol(call, "a")
    assert call("bdev_lvol_delete_lvstore", lvs_name="lvs") is True
    assert [bdev["name"] for bdev in call("bdev_get_bdevs")] == ["ssd"]
    call("bdev_lvol_create_lvstore", bdev_name="ssd", lvs_name="lvs")


def test_a_degraded_lvol_and_a_renamed_lvstore_behave_as_measured(
    target: RunningTarget, call: Client, store: str, drive: Path
) -> None:
    call.fails(-2, "bdev_lvol_rename_lvstore", old_name="none", new_name="new")
    call("bdev_lvol_rename_lvstore", old_name="lvs", new_name="new")
    call("bdev_malloc_create", name="outside", num_blocks=1024, block_size=4096)
    call("bdev_lvol_clone_bdev", bdev="outside", lvs_name="new", clone_name="c")
    target.restart()
    call.close()
    call("bdev_aio_create", name="ssd", filename=str(drive), block_size=4096)
    [found] = call("bdev_lvol_get_lvols")
    assert found["is_degraded"] is True
    call.fails(-19, "bdev_get_bdevs", name="new/c")
    request = '{"id":1,"method":"bdev_lvol_rename_lvstore","params":%s}'
    assert call.raw(request % '{"old_name":"new","new_name":"last"}') is None
    assert target.settle() == 3
    call("bdev_aio_create", name="ssd", filename=str(drive), block_size=4096)
    assert [one["name"] for one in call("bdev_lvol_get_lvstores")] == ["last"]
    assert call("bdev_lvol_delete", name="last/c") is True


@pytest.mark.parametrize("has_unmap", [True, False])
@pytest.mark.parametrize("kind", ["thin", "thick", "snapped", "over a snapshot"])
def test_discards_free_whole_clusters_as_measured(
    call: Client, drive: Path, kind: str, *, has_unmap: bool
) -> None:
    """A thin lvol without a snapshot below it loses whole clusters, whatever its clear method is. A
    thick lvol is thin after a snapshot. In other cases, only the drive gets the discard. The answer
    is always a success.
    """
    call("bdev_aio_create", name="ssd", filename=str(drive), block_size=4096, fallocate=has_unmap)
    call("bdev_lvol_create_lvstore", bdev_name="ssd", lvs_name="lvs")
    lvol(call, "v", 16, thin_provision=kind == "thin", clear_method="write_zeroes")
    if kind in {"snapped", "over a snapshot"}:
        call("bdev_lvol_snapshot", lvol_name="lvs/v", snapshot_name="s")
    with Host("127.0.0.1", export(call, "lvs/v"), NQN, HOST) as host:
        for at in range(0, 16 * MIB, 4 * MIB):
            host.write(1, at, b"A" * 4 * MIB)
        if kind == "snapped":
            call("bdev_lvol_delete", name="lvs/s")
        before = free(call)
        host.discard(1, 4096, 4 * MIB - 4096)
        assert free(call) == before, "no whole cluster"
        host.discard(1, 4 * MIB, 8 * MIB)
        is_freed = kind in {"thin", "snapped"}
        assert free(call) == before + 2 * is_freed
        assert host.read(1, 12 * MIB, 4096) == PATTERN
        expected = bytes(4096) if has_unmap or is_freed else PATTERN
        assert host.read(1, 4 * MIB, 4096) == expected
        lvol(call, "new", 32)
    call("nvmf_delete_subsystem", nqn=NQN)
    with Host("127.0.0.1", export(call, "lvs/new"), NQN, HOST) as host:
        shows_old = any(host.read(1, at, 4096) == PATTERN for at in range(0, 32 * MIB, 4 * MIB))
    assert shows_old is (is_freed and not has_unmap)


def test_write_zeroes_allocates_clusters_and_frees_none(call: Client, store: str) -> None:
    lvol(call, "v", 16, thin_provision=True)
    before = free(call)
    with Host("127.0.0.1", export(call, "lvs/v"), NQN, HOST) as host:
        host.zero(1, 0, 8 * MIB)
        assert free(call) == before - 2
