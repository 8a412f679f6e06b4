"""The engines' contract for volumes and generations."""

from functools import partial

import pytest

from inventory.nodes.client import NodeClient
from inventory.nodes.wire import (
    Owner,
    PoolIdentity,
    ProvisionerSettings,
    ProvisioningType,
    Qos,
    RefusalCode,
    Ssd,
    VolumeSpec,
)
from tests.nodes.specs import (
    GIB,
    OTHER_TARGET,
    TARGET,
    Restart,
    namespace,
    piece,
    refused,
    ssd_of,
    volume,
)


class VolumeContract:
    """``enforces_limits``: the engine can limit IOPS and bandwidth of a volume."""

    enforces_limits = True

    def test_a_repeated_create_makes_one_volume(
        self, client: NodeClient, ssds: list[str], uuid: str
    ) -> None:
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

    def test_volumes_are_listed_in_order(self, client: NodeClient, ssds: list[str]) -> None:
        names = [f"volume-{letter}" for letter in "cab"]
        for name in names:
            client.ensure_volume(name, volume(piece(ssds[0])))
        assert [one.uuid for one in client.list_volumes()] == sorted(names)

    def test_removing_a_volume_may_be_repeated(
        self, client: NodeClient, ssds: list[str], uuid: str
    ) -> None:
        free = client.read_node().ssds
        client.ensure_volume(uuid, volume(piece(ssds[0])))
        client.remove_volume(uuid, 1)
        client.remove_volume(uuid, 1)
        client.remove_volume("never-there", 1)
        assert client.read_volume(uuid) is None
        assert client.list_volumes() == ()
        assert client.read_node().ssds == free

    @pytest.mark.parametrize("block_size", [512, 4096])
    def test_a_thin_volume_takes_only_its_reserved_space(
        self, client: NodeClient, uuid: str, block_size: int
    ) -> None:
        def ssd() -> Ssd:
            name = ssd_of(client, block_size)
            return next(one for one in client.read_node().ssds if one.ssd_id == name)

        before = ssd()
        larger = before.capacity // GIB * GIB * 2
        spec = volume(
            piece(before.ssd_id, larger, GIB),
            provisioning_type=ProvisioningType.THIN,
            block_size=block_size,
        )
        assert client.ensure_volume(uuid, spec) is True
        assert ssd().free == before.free - GIB

    def test_a_volume_is_expanded_and_never_shrinks(
        self, client: NodeClient, ssds: list[str], uuid: str
    ) -> None:
        free = client.read_node().ssds[0].free
        client.ensure_volume(uuid, volume(piece(ssds[0], GIB)))
        larger = volume(piece(ssds[0], 3 * GIB))
        for _ in range(2):
            client.change_volume(uuid, larger)
        assert client.read_node().ssds[0].free == free - 3 * GIB
        smaller = volume(piece(ssds[0], 2 * GIB))
        sizes = (str(3 * GIB), str(2 * GIB))
        refused(RefusalCode.CONFLICT, lambda: client.change_volume(uuid, smaller), *sizes)
        found = client.read_volume(uuid)
        assert found is not None
        assert found.pieces == larger.pieces

    @pytest.mark.breaks_generations
    def test_reserved_space_never_shrinks(
        self, client: NodeClient, ssds: list[str], uuid: str
    ) -> None:
        thin = ProvisioningType.THIN
        client.ensure_volume(uuid, volume(piece(ssds[0], 4 * GIB, GIB), provisioning_type=thin))
        less = volume(piece(ssds[0], 8 * GIB, GIB - 4096), provisioning_type=thin)
        refused(RefusalCode.CONFLICT, lambda: client.change_volume(uuid, less), str(GIB - 4096))
        more = volume(piece(ssds[0], 8 * GIB, 2 * GIB), provisioning_type=thin)
        client.change_volume(uuid, more)
        assert client.ensure_volume(uuid, more) is False

    def test_a_volume_is_expanded_onto_another_ssd(
        self, client: NodeClient, ssds: list[str], uuid: str
    ) -> None:
        client.ensure_volume(uuid, volume(piece(ssds[0])))
        spec = volume(piece(ssds[0]), piece(ssds[1], 2 * GIB))
        client.change_volume(uuid, spec)
        found = client.read_volume(uuid)
        assert found is not None
        assert found.capacity == 3 * GIB

    def test_changed_limits_survive_a_restart(
        self, client: NodeClient, ssds: list[str], uuid: str, restart: Restart
    ) -> None:
        client.ensure_volume(uuid, volume(piece(ssds[0])))
        limited = volume(piece(ssds[0]), qos=Qos(max_iops=5000))
        client.change_volume(uuid, limited)
        restart()
        found = client.read_volume(uuid)
        assert found is not None
        assert found.qos == limited.qos
        assert found.enforced_qos == (limited.qos if self.enforces_limits else Qos())

    @pytest.mark.breaks_generations
    def test_a_different_volume_of_that_name_is_a_conflict(
        self, client: NodeClient, ssds: list[str], uuid: str
    ) -> None:
        client.ensure_volume(uuid, volume(piece(ssds[0])))
        thin = ProvisioningType.THIN
        others = (
            (volume(piece(ssds[1])), (ssds[0], ssds[1])),
            (volume(piece(ssds[0]), block_size=512), ("4096", "512")),
            (volume(piece(ssds[0]), provisioning_type=thin), ("THICK", "THIN")),
        )
        for spec, values in others:
            for call in (client.ensure_volume, client.change_volume):
                refused(RefusalCode.CONFLICT, partial(call, uuid, spec), *values)

    @pytest.mark.parametrize(
        ("capacity", "max_iops"), [(2 * GIB, 0), (GIB, 5000)], ids=["larger", "limited"]
    )
    def test_a_create_changes_nothing(
        self, client: NodeClient, ssds: list[str], uuid: str, *, capacity: int, max_iops: int
    ) -> None:
        client.ensure_volume(uuid, volume(piece(ssds[0])))
        before = client.read_volume(uuid)
        other = volume(piece(ssds[0], capacity), qos=Qos(max_iops=max_iops))
        refused(RefusalCode.CONFLICT, lambda: client.ensure_volume(uuid, other), str(GIB))
        assert client.read_volume(uuid) == before
        client.change_volume(uuid, other)
        assert client.ensure_volume(uuid, other) is False

    def test_a_change_creates_nothing(self, client: NodeClient, ssds: list[str], uuid: str) -> None:
        node = client.read_node()
        spec = volume(piece(ssds[0]), generation=5)
        refused(RefusalCode.NOT_FOUND, lambda: client.change_volume(uuid, spec), uuid)
        assert client.list_volumes() == ()
        assert client.ensure_volume(uuid, spec) is True
        for other in (4, 6):
            of_other = spec.model_copy(update={"generation": other})
            code = RefusalCode.STALE if other < 5 else RefusalCode.NOT_FOUND
            refused(code, partial(client.change_volume, uuid, of_other), uuid)
        client.remove_volume(uuid, 5)
        refused(RefusalCode.STALE, lambda: client.change_volume(uuid, spec), uuid)
        assert client.read_node().ssds == node.ssds

    def test_a_create_without_space_leaves_nothing(
        self, client: NodeClient, ssds: list[str], uuid: str
    ) -> None:
        node = client.read_node()
        much = (node.ssds[1].free // 4096 + 1) * 4096
        spec = volume(piece(ssds[0]), piece(ssds[1], much))
        values = (ssds[1], str(much))
        refused(RefusalCode.NO_SPACE, lambda: client.ensure_volume(uuid, spec), *values)
        assert client.read_node().ssds == node.ssds
        assert client.read_volume(uuid) is None

    def test_an_expansion_without_space_changes_nothing(
        self, client: NodeClient, ssds: list[str], uuid: str
    ) -> None:
        client.ensure_volume(uuid, volume(piece(ssds[0])))
        node = client.read_node()
        much = (node.ssds[0].capacity // 4096 + 1) * 4096
        spec = volume(piece(ssds[0], much))
        refused(RefusalCode.NO_SPACE, lambda: client.change_volume(uuid, spec))
        assert client.read_node().ssds == node.ssds

    def test_a_volume_on_an_unknown_ssd_is_refused(self, client: NodeClient, uuid: str) -> None:
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
    def test_a_layout_that_breaks_a_rule_is_refused(
        self, client: NodeClient, *, capacity: int, allocated: int, kind: str, block_size: int
    ) -> None:
        spec = volume(
            piece("any", capacity, allocated),
            provisioning_type=ProvisioningType(kind),
            block_size=block_size,
        )
        refused(RefusalCode.INVALID, lambda: client.ensure_volume("v", spec))

    def test_two_pieces_on_one_ssd_are_refused(
        self, client: NodeClient, ssds: list[str], uuid: str
    ) -> None:
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
    def test_an_older_write_is_stale(self, client: NodeClient, ssds: list[str], uuid: str) -> None:
        spec = volume(piece(ssds[0]), generation=5)
        client.ensure_volume(uuid, spec)
        older = spec.model_copy(update={"generation": 4})
        refused(RefusalCode.STALE, lambda: client.ensure_volume(uuid, older), "4", "5")
        refused(RefusalCode.STALE, lambda: client.remove_volume(uuid, 4))

    def test_a_volume_keeps_its_generation(
        self, client: NodeClient, ssds: list[str], uuid: str
    ) -> None:
        """So a new volume of the same name cannot take over the data of the former one."""
        spec = volume(piece(ssds[0]), generation=5)
        client.ensure_volume(uuid, spec)
        newer = spec.model_copy(update={"generation": 6})
        refused(RefusalCode.CONFLICT, lambda: client.ensure_volume(uuid, newer), "5", "6")
        assert client.ensure_volume(uuid, spec) is False
        client.remove_volume(uuid, 5)
        assert client.ensure_volume(uuid, newer) is True

    def test_generations_from_before_the_node_joined_are_refused(
        self, client: NodeClient, ssds: list[str], uuid: str, restart: Restart
    ) -> None:
        """The volume may have been removed since. A node that lost its records does not know
        this.
        """
        pool = PoolIdentity(uuid="0b5a1a2e-1111-4222-8333-444455556666", name="p")
        owner = Owner(pool=pool.uuid, tenant="0", volume=uuid, alias="v")
        spec = volume(piece(ssds[0]), generation=5, owner=owner)
        make = partial(client.ensure_volume, uuid, spec)
        refused(RefusalCode.CONFLICT, make, "no pool", pool.uuid)
        url = "https://127.0.0.1:1"
        settings = ProvisionerSettings(
            name="p", url=url, push_interval=3600, in_use=True, pool=pool, newest_generation=5
        )
        client.put_provisioner(settings)
        refused(RefusalCode.STALE, make, "5")
        restart()
        refused(RefusalCode.STALE, make, "5")
        assert client.read_volume(uuid) is None
        client.put_provisioner(settings.model_copy(update={"newest_generation": 9}))
        later = spec.model_copy(update={"generation": 6})
        assert client.ensure_volume(uuid, later) is True
        client.change_volume(uuid, later.model_copy(update={"qos": Qos(max_iops=1000)}))

    def test_a_removal_bars_its_generation(
        self, client: NodeClient, ssds: list[str], uuid: str, restart: Restart
    ) -> None:
        spec = volume(piece(ssds[0]), generation=5)
        client.ensure_volume(uuid, spec)
        client.remove_volume(uuid, 5)
        restart()
        refused(RefusalCode.STALE, lambda: client.ensure_volume(uuid, spec))
        assert client.ensure_volume(uuid, spec.model_copy(update={"generation": 6})) is True

    def test_a_removal_before_the_create_bars_the_create(
        self, client: NodeClient, ssds: list[str], uuid: str
    ) -> None:
        client.remove_volume(uuid, 1)
        refused(RefusalCode.STALE, lambda: client.ensure_volume(uuid, volume(piece(ssds[0]))))
        assert client.list_volumes() == ()

    def test_a_refused_write_counts_as_seen(
        self, client: NodeClient, ssds: list[str], uuid: str
    ) -> None:
        refused(
            RefusalCode.NOT_FOUND,
            lambda: client.ensure_volume(uuid, volume(piece("none"), generation=3)),
        )
        older = volume(piece(ssds[0]), generation=2)
        refused(RefusalCode.STALE, lambda: client.ensure_volume(uuid, older))

    def test_namespaces_have_their_own_generations(
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
