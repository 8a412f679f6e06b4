"""The contract of every engine, tested with the real client over HTTPS.

A test module inherits :class:`EngineContract` and provides the fixtures ``client`` (a node without
volumes and targets), ``peer`` (another such node that the first can reach), ``restart`` (restarts
engine and agent of the first node) and ``vanish`` (makes its data plane lose a volume or snapshot).
"""

from functools import partial

import pytest

from inventory.nodes.client import NodeClient
from inventory.nodes.syslogs import SyslogServer, SyslogServers
from inventory.nodes.target_ids import ANY_CONTROLLERS, ControllerIds
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
from tests.nodes.specs import (
    HOST,
    OTHER_HOST,
    OTHER_TARGET,
    TARGET,
    Restart,
    namespace,
    piece,
    refused,
    volume,
)


class NodeContract:
    def test_a_restart_changes_only_the_boot_id(self, client: NodeClient, restart: Restart) -> None:
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

    def test_provisioner_settings_may_be_put_again(self, client: NodeClient) -> None:
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

    def test_a_target_exists_from_its_first_to_its_last_namespace(
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

    def test_an_exported_volume_cannot_be_removed(
        self, client: NodeClient, volumes: list[str]
    ) -> None:
        uuid = volumes[0]
        client.ensure_namespace(TARGET, uuid, namespace())
        assert [one.exported for one in client.list_volumes()] == [True, False]
        refused(RefusalCode.IN_USE, lambda: client.remove_volume(uuid, 2), TARGET)
        client.remove_namespace(TARGET, uuid, 1)
        client.remove_volume(uuid, 2)

    def test_a_namespace_id_of_another_volume_is_refused(
        self, client: NodeClient, volumes: list[str]
    ) -> None:
        one, two = volumes
        client.ensure_namespace(TARGET, one, namespace(1))
        again = namespace(1)
        refused(RefusalCode.ID_IN_USE, lambda: client.ensure_namespace(TARGET, two, again), one)

    def test_a_later_generation_changes_the_namespace_id(
        self, client: NodeClient, volumes: list[str]
    ) -> None:
        one, _ = volumes
        client.ensure_namespace(TARGET, one, namespace(1))
        assert client.ensure_namespace(TARGET, one, namespace(2, generation=2)) is False
        [target] = client.list_targets()
        assert target.namespaces == (Namespace(volume_uuid=one, nsid=2, generation=2),)

    def test_a_namespace_id_is_not_reused_for_another_volume_within_an_hour(
        self, client: NodeClient, volumes: list[str], restart: Restart
    ) -> None:
        one, two = volumes
        client.ensure_namespace(TARGET, one, namespace(1))
        client.remove_namespace(TARGET, one, 1)
        restart()
        reused = partial(client.ensure_namespace, TARGET, two, namespace(1))
        refused(RefusalCode.ID_IN_USE, reused, one, "namespace id 1", "60 minutes")
        assert client.ensure_namespace(OTHER_TARGET, two, namespace(1)) is True
        assert client.ensure_namespace(TARGET, one, namespace(1, generation=2)) is True
        assert client.ensure_namespace(TARGET, one, namespace(2, generation=3)) is False
        later = namespace(1, generation=2)
        client.remove_namespace(OTHER_TARGET, two, 1)
        refused(RefusalCode.ID_IN_USE, lambda: client.ensure_namespace(TARGET, two, later), one)

    def test_targets_have_the_controller_ids_of_the_node(
        self, client: NodeClient, volumes: list[str], restart: Restart
    ) -> None:
        one, two = volumes
        ids = ControllerIds(first=128, last=191)
        client.ensure_namespace(TARGET, one, namespace(1))
        assert _controllers(client) == {TARGET: ANY_CONTROLLERS}
        numbered = namespace(1, controllers=ids)
        assert client.ensure_namespace(TARGET, one, numbered) is False
        assert _controllers(client) == {TARGET: ids}, "made anew: no host is connected"
        client.ensure_namespace(OTHER_TARGET, two, namespace(2))
        assert _controllers(client) == {TARGET: ids, OTHER_TARGET: ids}
        restart()
        assert _controllers(client) == {TARGET: ids, OTHER_TARGET: ids}

    def test_overlapping_controller_ids_are_refused(
        self, client: NodeClient, volumes: list[str]
    ) -> None:
        one, two = volumes
        ids = ControllerIds(first=128, last=191)
        client.ensure_namespace(TARGET, one, namespace(1, controllers=ids))
        for first, last in ((191, 254), (65, 128), (1, 65_519), (130, 140)):
            wrong = namespace(2, controllers=ControllerIds(first=first, last=last))
            add = partial(client.ensure_namespace, TARGET, two, wrong)
            refused(RefusalCode.CONFLICT, add, "128 to 191", f"{first} to {last}")
        apart = ControllerIds(first=192, last=255)
        assert client.ensure_namespace(TARGET, two, namespace(2, controllers=apart)) is True
        assert _controllers(client) == {TARGET: apart}

    def test_an_unknown_volume_cannot_be_exported(self, client: NodeClient) -> None:
        call = partial(client.ensure_namespace, TARGET, "none", namespace())
        refused(RefusalCode.NOT_FOUND, call, "none")
        assert client.list_targets() == ()

    def test_a_later_generation_changes_the_host_of_the_target(
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


def _controllers(client: NodeClient) -> dict[str, ControllerIds | None]:
    return {target.nqn: target.controllers for target in client.list_targets()}


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
    """The whole contract."""
