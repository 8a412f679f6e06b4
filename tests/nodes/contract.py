"""What every engine must do, seen through the real client over HTTPS.

A test module inherits :class:`EngineContract` and gives the fixtures ``client`` (a node without
volumes and targets), ``peer`` (another such node, which it can reach), ``restart`` (restarts the
first one's engine and agent) and ``vanish`` (its data plane loses a volume or snapshot).
"""

from functools import partial

import pytest

from inventory.nodes.client import NodeClient
from inventory.nodes.syslogs import SyslogServer, SyslogServers
from inventory.nodes.wire import (
    License,
    Namespace,
    ProvisionerSettings,
    RefusalCode,
    Tag,
)
from tests.nodes.contract_losses import LossContract
from tests.nodes.contract_snapshots import SnapshotContract, SourceContract
from tests.nodes.contract_syncs import SyncContract
from tests.nodes.contract_volumes import GenerationContract, VolumeContract
from tests.nodes.specs import HOST, OTHER_HOST, TARGET, Restart, namespace, piece, refused, volume


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

    def test_license_survives_a_restart(self, client: NodeClient, restart: Restart) -> None:
        assert client.read_license() == License()
        for text in ("a.b.c", "a.b.c", "d.e.f"):
            client.put_license(License(license=text))
            assert client.read_license() == License(license=text)
        restart()
        assert client.read_license() == License(license="d.e.f")

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


class EngineContract(
    NodeContract,
    VolumeContract,
    GenerationContract,
    SnapshotContract,
    SourceContract,
    TargetContract,
    SyncContract,
    LossContract,
):
    """All of it."""
