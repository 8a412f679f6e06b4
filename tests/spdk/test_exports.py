"""The fake target behaves as measured of SPDK's subsystems, raids and copies."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import free_port
from tests.spdk.client import Client
from tests.spdk.host import Host, IoFailed, NoAccess
from tests.spdk.running import RunningTarget
from tests.spdk.seen import HOST, NQN, export

MIB = 2**20
OTHER_HOST = HOST.replace("1", "2")
CONCAT = {"raid_level": "concat", "strip_size_kb": 64, "superblock": True}


@pytest.fixture
def store(call: Client, drive: Path) -> str:
    call("bdev_aio_create", name="ssd", filename=str(drive), block_size=4096)
    call("bdev_lvol_create_lvstore", bdev_name="ssd", lvs_name="lvs")
    for name in "abc":
        call("bdev_lvol_create", lvs_name="lvs", lvol_name=name, size_in_mib=8)
    return "lvs"


def connect(port: int, host: str = HOST) -> Host:
    return Host("127.0.0.1", port, NQN, host)


def claimed(call: Client, name: str) -> bool:
    [found] = call("bdev_get_bdevs", name=name)
    return bool(found["claimed"])


def test_a_subsystem_shows_its_namespaces_hosts_and_listeners(call: Client, store: str) -> None:
    port = export(call, "lvs/a")
    discovery, found = call("nvmf_get_subsystems")
    assert discovery["subtype"] == "Discovery"
    [a] = call("bdev_get_bdevs", name="lvs/a")
    [space] = found["namespaces"]
    assert (space["nsid"], space["bdev_name"], space["uuid"]) == (1, a["name"], a["uuid"])
    assert found["hosts"] == [{"nqn": HOST}]
    assert found["listen_addresses"][0]["trsvcid"] == str(port)
    call.fails(-19, "nvmf_get_subsystems", nqn="nqn.2022-08.com.kioxia:none")
    uuid = "22222222-2222-4222-8222-222222222222"
    options = {"bdev_name": "lvs/b", "uuid": uuid}
    assert call("nvmf_subsystem_add_ns", nqn=NQN, namespace=options) == 2
    [found] = call("nvmf_get_subsystems", nqn=NQN)
    assert found["namespaces"][1]["uuid"] == uuid
    assert found["namespaces"][1]["nguid"] == uuid.replace("-", "").upper()


def test_subsystems_refuse_what_spdk_refuses(call: Client, store: str) -> None:
    address = {"trtype": "TCP", "traddr": "127.0.0.1", "trsvcid": str(free_port())}
    call("nvmf_create_subsystem", nqn=NQN, max_namespaces=2)
    call.fails(-32602, "nvmf_subsystem_add_listener", nqn=NQN, listen_address=address)
    call("nvmf_create_transport", trtype="TCP")
    call.fails(-32603, "nvmf_create_transport", trtype="TCP")
    for nqn in (NQN, "no-nqn", "nqn.2022-08.com.kioxia:" + "x" * 223):
        call.fails(-32603, "nvmf_create_subsystem", nqn=nqn)
    call("nvmf_subsystem_add_listener", nqn=NQN, listen_address=address)
    for wrong in (address, address | {"traddr": "192.0.2.1"}):
        call.fails(-32602, "nvmf_subsystem_add_listener", nqn=NQN, listen_address=wrong)
    call.fails(-32603, "nvmf_subsystem_add_host", nqn=NQN, host="no-nqn")
    call("nvmf_subsystem_add_host", nqn=NQN, host=HOST)
    call.fails(-32603, "nvmf_subsystem_add_host", nqn=NQN, host=HOST)
    call.fails(-32603, "nvmf_subsystem_remove_host", nqn=NQN, host=OTHER_HOST)
    call("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "lvs/a", "nsid": 1})
    for bdev, nsid in (("lvs/b", 1), ("lvs/b", 3), ("none", 2), ("lvs/a", 2)):
        options = {"bdev_name": bdev, "nsid": nsid}
        call.fails(-32602, "nvmf_subsystem_add_ns", nqn=NQN, namespace=options)
    other = "nqn.2022-08.com.kioxia:other"
    call("nvmf_create_subsystem", nqn=other)
    call.fails(-32602, "nvmf_subsystem_add_ns", nqn=other, namespace={"bdev_name": "lvs/a"})
    call("nvmf_subsystem_remove_ns", nqn=NQN, nsid=1)
    call("nvmf_subsystem_add_ns", nqn=other, namespace={"bdev_name": "lvs/a"})


def test_only_a_listed_host_can_connect(call: Client, store: str) -> None:
    port = export(call, "lvs/a")
    with pytest.raises(NoAccess):
        connect(port, OTHER_HOST)
    host = connect(port)
    [found] = call("nvmf_subsystem_get_controllers", nqn=NQN)
    assert found["hostnqn"] == HOST
    assert call("nvmf_subsystem_remove_host", nqn=NQN, host=HOST) is True
    assert call("nvmf_subsystem_get_controllers", nqn=NQN) == []
    with pytest.raises(ConnectionError):
        host.read(1, 0, 4096)
    host.close()
    with pytest.raises(NoAccess):
        connect(port)
    call("nvmf_subsystem_allow_any_host", nqn=NQN, allow_any_host=True)
    with connect(port, OTHER_HOST) as other:
        call("nvmf_subsystem_allow_any_host", nqn=NQN, allow_any_host=False)
        assert other.read(1, 0, 4) == bytes(4)


def test_an_exported_lvol_can_be_deleted(call: Client, store: str) -> None:
    port = export(call, "lvs/a")
    with connect(port) as host:
        assert call("bdev_lvol_delete", name="lvs/a") is True
        with pytest.raises(IoFailed, match="00/0b"):
            host.write(1, 0, bytes(4096))
    [found] = call("nvmf_get_subsystems", nqn=NQN)
    assert found["namespaces"] == []


def test_a_full_store_fails_writes(call: Client, store: str) -> None:
    size = {"size_in_mib": 64, "thin_provision": True}
    call("bdev_lvol_create", lvs_name="lvs", lvol_name="thin", **size)
    [found] = call("bdev_lvol_get_lvstores")
    rest = found["free_clusters"] * 4
    call("bdev_lvol_create", lvs_name="lvs", lvol_name="rest", size_in_mib=rest)
    with connect(export(call, "lvs/thin")) as host, pytest.raises(IoFailed, match="00/06"):
        host.write(1, 0, bytes(4096))


def test_a_concat_raid_joins_its_members(call: Client, store: str) -> None:
    call.fails(-22, "bdev_raid_create", name="r", raid_level="concat", base_bdevs=["lvs/a"])
    call("bdev_raid_create", name="r", base_bdevs=["lvs/a", "lvs/b"], **CONCAT)
    [found] = call("bdev_get_bdevs", name="r")
    assert found["num_blocks"] * found["block_size"] == 2 * (8 - 4) * MIB
    assert claimed(call, "lvs/a")
    call.fails(-17, "bdev_raid_create", name="r", base_bdevs=["lvs/c"], **CONCAT)
    call.fails(-1, "bdev_raid_create", name="q", base_bdevs=["lvs/a"], **CONCAT)
    call("bdev_lvol_resize", name="lvs/b", size_in_mib=16)
    assert call("bdev_get_bdevs", name="r") == [found]
    with connect(export(call, "r")) as host:
        host.write(1, 4 * MIB - 4096, b"x" * 8192)
        assert host.read(1, 4 * MIB - 4096, 8192) == b"x" * 8192
    assert call("bdev_raid_delete", name="r") is True
    assert not claimed(call, "lvs/a")
    call.fails(-17, "bdev_raid_create", name="q", base_bdevs=["lvs/a", "lvs/c"], **CONCAT)
    old = {"uuid": found["uuid"], "base_bdevs": ["lvs/a", "lvs/b"]}
    call("bdev_raid_create", name="r", **CONCAT, **old)
    call("bdev_raid_delete", name="r", clear_sb=True)
    call("bdev_raid_create", name="q", base_bdevs=["lvs/a", "lvs/c"], **CONCAT)


def test_a_concat_raid_waits_for_its_members(
    target: RunningTarget, call: Client, store: str, drive: Path
) -> None:
    def raids(category: str) -> list[str]:
        return [one["name"] for one in call("bdev_raid_get_bdevs", category=category)]

    call("bdev_raid_create", name="r", base_bdevs=["lvs/a", "lvs/b"], **CONCAT)
    call("bdev_raid_create", name="lost", base_bdevs=["lvs/c", "none"], **CONCAT)
    assert (raids("configuring"), raids("online")) == (["lost"], ["r"])
    target.restart()
    call.close()
    call("bdev_aio_create", name="ssd", filename=str(drive), block_size=4096)
    call("bdev_wait_for_examine")
    assert raids("all") == raids("online") == ["r"]
    [found] = call("bdev_raid_get_bdevs", category="all")
    assert found["base_bdevs_list"][0]["name"] == found["base_bdevs_list"][0]["uuid"]
    call("bdev_aio_delete", name="ssd")
    call("bdev_aio_create", name="ssd", filename=str(drive), block_size=4096)
    call("bdev_wait_for_examine")
    assert raids("offline") == ["r"]


@pytest.fixture
def there() -> Iterator[RunningTarget]:
    target = RunningTarget()
    yield target
    target.close()


@pytest.fixture
def port(there: RunningTarget) -> Iterator[int]:
    """The port of another target that exports a bdev of 16 MiB."""
    call = Client(there.socket)
    call("bdev_malloc_create", name="m", num_blocks=16 * MIB // 4096, block_size=4096)
    yield export(call, "m")
    call.close()


@pytest.fixture
def remote(call: Client, store: str, port: int) -> str:
    """Attach the namespace as a bdev of this target."""
    address: dict[str, Any] = {"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1"}
    address |= {"trsvcid": str(port), "subnqn": NQN}
    for wrong in ({"hostnqn": OTHER_HOST}, {"hostnqn": HOST, "trsvcid": "1"}):
        call.fails(-5, "bdev_nvme_attach_controller", **{"name": "n", **address, **wrong})
    attach = {"name": "n", "hostnqn": HOST, **address}
    [name] = call("bdev_nvme_attach_controller", **attach)
    call.fails(-114, "bdev_nvme_attach_controller", **attach)
    assert name == "nn1"
    return str(name)


def ended(call: Client, operation: int) -> dict[str, Any]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = call("bdev_lvol_check_shallow_copy", operation_id=operation)
        if found["state"] != "in progress":
            return dict(found)
    pytest.fail("the copy does not end")


def test_the_result_of_a_copy_is_reported_once(
    call: Client, target: RunningTarget, remote: str, port: int
) -> None:
    target.hold(0)
    with connect(export(call, "lvs/a")) as host:
        host.write(1, 4 * MIB, b"data" * 1024)
    call("bdev_lvol_snapshot", lvol_name="lvs/a", snapshot_name="s")
    copy = {"src_lvol_name": "lvs/s", "dst_bdev_name": remote}
    started = call("bdev_lvol_start_shallow_copy", **copy)
    assert started == {"operation_id": 1}
    call.fails(-32602, "bdev_lvol_start_shallow_copy", **copy)
    target.hold(None)
    found = ended(call, 1)
    assert (found["state"], found["copied_clusters"], found["total_clusters"]) == ("complete", 2, 2)
    call.fails(-19, "bdev_lvol_check_shallow_copy", operation_id=1)
    assert call("bdev_nvme_detach_controller", name="n") is True
    with connect(port) as host:
        assert host.read(1, 4 * MIB, 4096) == b"data" * 1024


@pytest.fixture
def running(call: Client, target: RunningTarget, remote: str) -> int:
    """A copy of the snapshot ``s`` that stands still."""
    target.target.initiator.detach_seconds = 0.05
    target.hold(1)
    call("bdev_lvol_snapshot", lvol_name="lvs/a", snapshot_name="s")
    copy = {"src_lvol_name": "lvs/s", "dst_bdev_name": remote}
    return int(call("bdev_lvol_start_shallow_copy", **copy)["operation_id"])


def test_a_detach_does_not_cancel_a_copy(call: Client, target: RunningTarget, running: int) -> None:
    """It fails, the bdevs are no longer listed, and the controller stays until the copy
    has ended.
    """
    for _ in range(2):
        call.fails(-110, "bdev_nvme_detach_controller", name="n")
        assert [one["name"] for one in call("bdev_nvme_get_controllers")] == ["n"]
    call.fails(-19, "bdev_get_bdevs", name="nn1")
    address = {"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": "1"}
    again = {"name": "n", "subnqn": NQN, "hostnqn": HOST, **address}
    text = call.fails(-114, "bdev_nvme_attach_controller", **again)
    assert "A controller named n already exists" in text
    target.hold(None)
    assert ended(call, running)["state"] == "complete"
    assert call("bdev_nvme_get_controllers") == []


def test_a_copy_ends_when_its_namespace_is_removed(
    call: Client, target: RunningTarget, there: RunningTarget, running: int
) -> None:
    call.fails(-110, "bdev_nvme_detach_controller", name="n")
    destination = Client(there.socket)
    destination("nvmf_subsystem_remove_ns", nqn=NQN, nsid=1)
    destination.close()
    target.hold(None)
    assert ended(call, running)["state"] == "error"
    assert call("bdev_nvme_get_controllers") == []


def test_a_snapshot_deleted_while_it_is_read_is_hidden(
    call: Client, target: RunningTarget, drive: Path, running: int
) -> None:
    """It stays hidden until its lvstore is loaded again."""

    def names() -> set[str]:
        return {one["name"] for one in call("bdev_lvol_get_lvols")}

    call.fails(-32603, "bdev_lvol_delete", name="lvs/s")
    assert names() == {"a", "b", "c"}
    target.hold(None)
    assert ended(call, running)["state"] == "complete"
    assert names() == {"a", "b", "c"}
    call("bdev_aio_delete", name="ssd")
    call("bdev_aio_create", name="ssd", filename=str(drive), block_size=4096)
    call("bdev_wait_for_examine")
    assert names() == {"a", "b", "c", "s"}


def test_a_copy_that_must_fail_still_starts(call: Client, remote: str) -> None:
    start = "bdev_lvol_start_shallow_copy"
    writable = call(start, src_lvol_name="lvs/a", dst_bdev_name=remote)
    assert ended(call, writable["operation_id"])["state"] == "error"
    call("bdev_lvol_resize", name="lvs/b", size_in_mib=64)
    call("bdev_lvol_set_read_only", name="lvs/b")
    larger = call(start, src_lvol_name="lvs/b", dst_bdev_name=remote)
    assert ended(call, larger["operation_id"])["state"] == "error"
    call.fails(-19, start, src_lvol_name="none", dst_bdev_name=remote)
    call.fails(-32602, start, src_lvol_name="lvs/b", dst_bdev_name="none")


def test_exports_are_lost_with_the_process(target: RunningTarget, call: Client, store: str) -> None:
    export(call, "lvs/a")
    target.restart()
    call.close()
    assert call("nvmf_get_transports") == []
    assert [one["subtype"] for one in call("nvmf_get_subsystems")] == ["Discovery"]


def test_a_transport_can_mask_discards(call: Client, store: str) -> None:
    """Hosts cannot discard although their namespaces support it. The mask is not shown."""
    wrong = {"trtype": "TCP", "masked_oncs": ["dsm"]}
    call.fails(-32602, "nvmf_create_transport", **wrong)
    masked = {"masked_oncs": ["nvmdsmsv"], "max_aq_depth": 127}
    call("nvmf_create_transport", trtype="TCP", **masked)
    [shown] = call("nvmf_get_transports")
    assert shown["max_aq_depth"] == 127
    assert "masked_oncs" not in shown
    with Host("127.0.0.1", export(call, "lvs/a"), NQN, HOST) as host:
        with pytest.raises(IoFailed, match="00/01"):
            host.discard(1, 0, 4 * MIB)
        host.zero(1, 0, 4096)
