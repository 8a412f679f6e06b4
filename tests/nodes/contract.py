"""What every engine must do, seen through the real client over HTTPS.

A test module inherits :class:`EngineContract` and gives the two fixtures ``client`` (a node without
volumes and targets) and ``restart`` (restarts that node's engine and agent).
"""

import uuid as uuids
from collections.abc import Callable
from functools import partial

import pytest

from inventory.nodes.client import NodeClient, NodeRefused
from inventory.nodes.wire import (
    Namespace,
    ProvisionerSettings,
    ProvisioningType,
    Qos,
    RefusalCode,
    SyslogServer,
    SyslogServers,
    Tag,
    VolumeSpec,
)
from tests.nodes.specs import GIB, HOST, OTHER_HOST, OTHER_TARGET, TARGET, namespace, piece, volume

Restart = Callable[[], None]


@pytest.fixture
def uuid() -> str:
    return str(uuids.uuid4())


@pytest.fixture
def ssds(client: NodeClient) -> list[str]:
    return [ssd.ssd_id for ssd in client.read_node().ssds]


def refused(code: RefusalCode, call: Callable[[], object], *parts: str) -> None:
    """The call is refused with this code and a message that holds the parts."""
    with pytest.raises(NodeRefused) as caught:
        call()
    assert caught.value.code is code, caught.value
    for part in parts:
        assert part in caught.value.message


class NodeContract:
    def test_identity(self, client: NodeClient, restart: Restart) -> None:
        before = client.read_node()
        assert before.persistent_id
        assert before.ssds
        assert before.portals
        assert before.total_iops > 0
        assert all(0 < ssd.free <= ssd.capacity for ssd in before.ssds)
        assert client.read_node() == before
        restart()
        after = client.read_node()
        assert after.boot_id != before.boot_id
        assert after.model_copy(update={"boot_id": before.boot_id}) == before

    def test_syslogs_survive_a_restart(self, client: NodeClient, restart: Restart) -> None:
        assert client.read_syslogs() == SyslogServers()
        server = SyslogServer(id=1, name="log", url="10.0.0.1:6514", state=True, use_tls=True)
        servers = SyslogServers(servers=(server,))
        client.put_syslogs(servers)
        client.put_syslogs(servers)
        restart()
        assert client.read_syslogs() == servers

    def test_provisioner_settings_are_taken(self, client: NodeClient) -> None:
        settings = ProvisionerSettings(
            name="p",
            url="https://127.0.0.1:1",
            push_interval=3600,
            in_use=True,
            tags=(Tag(name="rack", value="r1"),),
        )
        client.put_provisioner(settings)
        client.put_provisioner(settings)


class VolumeContract:
    def test_made_once(self, client: NodeClient, ssds: list[str], uuid: str) -> None:
        spec = volume(piece(ssds[0]), qos=Qos(max_iops=1000, max_bw=10**6))
        free = client.read_node().ssds[0].free
        assert client.read_volume(uuid) is None
        assert client.ensure_volume(uuid, spec) is True
        assert client.ensure_volume(uuid, spec) is False
        found = client.read_volume(uuid)
        assert found is not None
        assert found.uuid == uuid
        assert not found.exported
        assert VolumeSpec(**found.model_dump(include=set(VolumeSpec.model_fields))) == spec
        assert client.list_volumes() == (found,)
        assert client.read_node().ssds[0].free == free - GIB

    def test_list_is_ordered(self, client: NodeClient, ssds: list[str]) -> None:
        names = [f"volume-{letter}" for letter in "cab"]
        for name in names:
            client.ensure_volume(name, volume(piece(ssds[0])))
        assert [one.uuid for one in client.list_volumes()] == sorted(names)

    def test_removed_and_gone_already(self, client: NodeClient, ssds: list[str], uuid: str) -> None:
        free = client.read_node().ssds
        client.ensure_volume(uuid, volume(piece(ssds[0])))
        client.remove_volume(uuid, 1)
        client.remove_volume(uuid, 1)
        client.remove_volume("never-there", 1)
        assert client.read_volume(uuid) is None
        assert client.list_volumes() == ()
        assert client.read_node().ssds == free

    def test_thin_takes_what_it_reserves(
        self, client: NodeClient, ssds: list[str], uuid: str
    ) -> None:
        node = client.read_node()
        larger = node.ssds[0].capacity // GIB * GIB * 2
        spec = volume(
            piece(ssds[0], larger, GIB), provisioning_type=ProvisioningType.THIN, block_size=512
        )
        assert client.ensure_volume(uuid, spec) is True
        assert client.read_node().ssds[0].free == node.ssds[0].free - GIB

    def test_grows_and_never_shrinks(self, client: NodeClient, ssds: list[str], uuid: str) -> None:
        free = client.read_node().ssds[0].free
        client.ensure_volume(uuid, volume(piece(ssds[0], GIB)))
        larger = volume(piece(ssds[0], 3 * GIB))
        assert client.ensure_volume(uuid, larger) is False
        assert client.read_node().ssds[0].free == free - 3 * GIB
        smaller = volume(piece(ssds[0], 2 * GIB))
        sizes = (str(3 * GIB), str(2 * GIB))
        refused(RefusalCode.CONFLICT, lambda: client.ensure_volume(uuid, smaller), *sizes)
        found = client.read_volume(uuid)
        assert found is not None
        assert found.pieces == larger.pieces

    def test_grows_onto_another_ssd(self, client: NodeClient, ssds: list[str], uuid: str) -> None:
        client.ensure_volume(uuid, volume(piece(ssds[0])))
        spec = volume(piece(ssds[0]), piece(ssds[1], 2 * GIB))
        assert client.ensure_volume(uuid, spec) is False
        found = client.read_volume(uuid)
        assert found is not None
        assert found.capacity == 3 * GIB

    def test_limits_change(
        self, client: NodeClient, ssds: list[str], uuid: str, restart: Restart
    ) -> None:
        client.ensure_volume(uuid, volume(piece(ssds[0])))
        limited = volume(piece(ssds[0]), qos=Qos(max_iops=5000))
        assert client.ensure_volume(uuid, limited) is False
        restart()
        found = client.read_volume(uuid)
        assert found is not None
        assert found.qos == limited.qos

    def test_there_but_different(self, client: NodeClient, ssds: list[str], uuid: str) -> None:
        client.ensure_volume(uuid, volume(piece(ssds[0])))
        thin = ProvisioningType.THIN
        others = (
            (volume(piece(ssds[1]), generation=2), (ssds[0], ssds[1])),
            (volume(piece(ssds[0]), generation=3, block_size=512), ("4096", "512")),
            (volume(piece(ssds[0]), generation=4, provisioning_type=thin), ("THICK", "THIN")),
        )
        for spec, values in others:
            refused(RefusalCode.CONFLICT, partial(client.ensure_volume, uuid, spec), *values)

    def test_no_space(self, client: NodeClient, ssds: list[str], uuid: str) -> None:
        node = client.read_node()
        much = (node.ssds[1].free // 4096 + 1) * 4096
        spec = volume(piece(ssds[0]), piece(ssds[1], much))
        values = (ssds[1], str(node.ssds[1].free), str(much))
        refused(RefusalCode.NO_SPACE, lambda: client.ensure_volume(uuid, spec), *values)
        assert client.read_node() == node
        assert client.read_volume(uuid) is None

    def test_no_space_to_grow(self, client: NodeClient, ssds: list[str], uuid: str) -> None:
        client.ensure_volume(uuid, volume(piece(ssds[0])))
        node = client.read_node()
        much = (node.ssds[0].capacity // 4096 + 1) * 4096
        spec = volume(piece(ssds[0], much))
        refused(RefusalCode.NO_SPACE, lambda: client.ensure_volume(uuid, spec))
        assert client.read_node() == node

    def test_unknown_ssd(self, client: NodeClient, uuid: str) -> None:
        spec = volume(piece("no-such-ssd"))
        refused(RefusalCode.NOT_FOUND, lambda: client.ensure_volume(uuid, spec), "no-such-ssd")

    @pytest.mark.parametrize(
        ("capacity", "allocated", "kind", "block_size"),
        [
            (0, 0, "THICK", 4096),
            (4095, 4095, "THICK", 4096),
            (8192, 4096, "THICK", 4096),
            (4096, 8192, "THIN", 4096),
            (4000, 4000, "THICK", 1000),
        ],
    )
    def test_breaks_a_rule(
        self, client: NodeClient, *, capacity: int, allocated: int, kind: str, block_size: int
    ) -> None:
        spec = volume(
            piece("any", capacity, allocated),
            provisioning_type=ProvisioningType(kind),
            block_size=block_size,
        )
        refused(RefusalCode.INVALID, lambda: client.ensure_volume("v", spec))

    def test_one_ssd_twice(self, client: NodeClient, ssds: list[str], uuid: str) -> None:
        spec = volume(piece(ssds[0]), piece(ssds[0]))
        refused(RefusalCode.INVALID, lambda: client.ensure_volume(uuid, spec), ssds[0])

    def test_volumes_survive_a_restart(
        self, client: NodeClient, ssds: list[str], uuid: str, restart: Restart
    ) -> None:
        client.ensure_volume(uuid, volume(piece(ssds[0]), piece(ssds[1])))
        volumes, ssds_before = client.list_volumes(), client.read_node().ssds
        restart()
        assert client.list_volumes() == volumes
        assert client.read_node().ssds == ssds_before


class GenerationContract:
    def test_older_write_is_stale(self, client: NodeClient, ssds: list[str], uuid: str) -> None:
        spec = volume(piece(ssds[0]), generation=5)
        client.ensure_volume(uuid, spec)
        older = spec.model_copy(update={"generation": 4})
        refused(RefusalCode.STALE, lambda: client.ensure_volume(uuid, older), "4", "5")
        refused(RefusalCode.STALE, lambda: client.remove_volume(uuid, 4))
        newer = spec.model_copy(update={"generation": 6})
        assert client.ensure_volume(uuid, newer) is False
        refused(RefusalCode.STALE, lambda: client.ensure_volume(uuid, spec))

    def test_removal_bars_its_generation(
        self, client: NodeClient, ssds: list[str], uuid: str, restart: Restart
    ) -> None:
        spec = volume(piece(ssds[0]), generation=5)
        client.ensure_volume(uuid, spec)
        client.remove_volume(uuid, 5)
        restart()
        refused(RefusalCode.STALE, lambda: client.ensure_volume(uuid, spec))
        assert client.ensure_volume(uuid, spec.model_copy(update={"generation": 6})) is True

    def test_removal_that_came_first(self, client: NodeClient, ssds: list[str], uuid: str) -> None:
        client.remove_volume(uuid, 1)
        refused(RefusalCode.STALE, lambda: client.ensure_volume(uuid, volume(piece(ssds[0]))))
        assert client.list_volumes() == ()

    def test_refused_write_was_seen(self, client: NodeClient, ssds: list[str], uuid: str) -> None:
        refused(
            RefusalCode.NOT_FOUND,
            lambda: client.ensure_volume(uuid, volume(piece("none"), generation=3)),
        )
        older = volume(piece(ssds[0]), generation=2)
        refused(RefusalCode.STALE, lambda: client.ensure_volume(uuid, older))

    def test_namespaces_have_their_own(
        self, client: NodeClient, ssds: list[str], uuid: str, restart: Restart
    ) -> None:
        client.ensure_volume(uuid, volume(piece(ssds[0]), generation=9))
        client.ensure_namespace(TARGET, uuid, namespace(generation=3))
        client.remove_namespace(TARGET, uuid, 3)
        restart()
        stale = namespace(generation=3)
        refused(RefusalCode.STALE, lambda: client.ensure_namespace(TARGET, uuid, stale))
        assert client.ensure_namespace(OTHER_TARGET, uuid, namespace(generation=1)) is True
        refused(RefusalCode.STALE, lambda: client.remove_namespace(TARGET, uuid, 2))


class TargetContract:
    @pytest.fixture
    def volumes(self, client: NodeClient, ssds: list[str]) -> list[str]:
        names = ["volume-1", "volume-2"]
        for name in names:
            client.ensure_volume(name, volume(piece(ssds[0])))
        return names

    def test_comes_with_the_first_and_goes_with_the_last(
        self, client: NodeClient, volumes: list[str]
    ) -> None:
        one, two = volumes
        assert client.list_targets() == ()
        assert client.ensure_namespace(TARGET, one, namespace(1)) is True
        assert client.ensure_namespace(TARGET, one, namespace(1)) is False
        assert client.ensure_namespace(TARGET, two, namespace(7)) is True
        [target] = client.list_targets()
        assert client.read_target(TARGET) == target
        assert (target.nqn, target.host_nqn) == (TARGET, HOST)
        assert target.listeners == client.read_node().portals
        assert target.namespaces == (
            Namespace(volume_uuid=one, nsid=1, generation=1),
            Namespace(volume_uuid=two, nsid=7, generation=1),
        )
        assert target.connected_hosts == ()
        client.remove_namespace(TARGET, one, 1)
        client.remove_namespace(TARGET, one, 1)
        [target] = client.list_targets()
        assert [entry.volume_uuid for entry in target.namespaces] == [two]
        client.remove_namespace(TARGET, two, 1)
        assert client.list_targets() == ()
        assert client.read_target(TARGET) is None

    def test_exported_volume_is_in_use(self, client: NodeClient, volumes: list[str]) -> None:
        uuid = volumes[0]
        client.ensure_namespace(TARGET, uuid, namespace())
        assert [one.exported for one in client.list_volumes()] == [True, False]
        refused(RefusalCode.IN_USE, lambda: client.remove_volume(uuid, 2), TARGET)
        client.remove_namespace(TARGET, uuid, 1)
        client.remove_volume(uuid, 2)

    def test_namespace_id_is_used_once(self, client: NodeClient, volumes: list[str]) -> None:
        one, two = volumes
        client.ensure_namespace(TARGET, one, namespace(1))
        again = namespace(1)
        refused(RefusalCode.CONFLICT, lambda: client.ensure_namespace(TARGET, two, again), one)
        other = namespace(2, generation=2)
        refused(RefusalCode.CONFLICT, lambda: client.ensure_namespace(TARGET, one, other), "1", "2")

    def test_unknown_volume(self, client: NodeClient) -> None:
        call = partial(client.ensure_namespace, TARGET, "none", namespace())
        refused(RefusalCode.NOT_FOUND, call, "none")
        assert client.list_targets() == ()

    def test_host_changes_with_a_later_generation(
        self, client: NodeClient, volumes: list[str]
    ) -> None:
        one, two = volumes
        client.ensure_namespace(TARGET, one, namespace(1))
        client.ensure_namespace(TARGET, two, namespace(2))
        later = namespace(1, generation=2, host_nqn=OTHER_HOST)
        assert client.ensure_namespace(TARGET, one, later) is False
        [target] = client.list_targets()
        assert target.host_nqn == OTHER_HOST
        assert client.ensure_namespace(TARGET, two, namespace(2)) is False
        assert client.list_targets() == (target,)

    def test_exports_survive_a_restart(
        self, client: NodeClient, volumes: list[str], restart: Restart
    ) -> None:
        for nsid, uuid in enumerate(volumes, 1):
            client.ensure_namespace(TARGET, uuid, namespace(nsid))
        targets = client.list_targets()
        restart()
        assert client.list_targets() == targets
        refused(RefusalCode.IN_USE, lambda: client.remove_volume(volumes[0], 1))


class EngineContract(NodeContract, VolumeContract, GenerationContract, TargetContract):
    """All of it."""
