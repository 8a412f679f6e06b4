"""The engines' contract for snapshots and volumes made from a source."""

from functools import partial

import pytest

from inventory.nodes.client import NodeClient
from inventory.nodes.wire import (
    Piece,
    ProvisioningType,
    Qos,
    RefusalCode,
    SnapshotSpec,
    Source,
    SourceKind,
)
from tests.nodes.specs import (
    GIB,
    TARGET,
    Restart,
    await_ssds,
    derived,
    namespace,
    piece,
    refused,
    snapshot,
    volume,
)

READ_ONLY = SourceKind.READ_ONLY_SNAPSHOT_VOLUME
WRITABLE = SourceKind.WRITABLE_SNAPSHOT_VOLUME
OF_VOLUME = SourceKind.CLONE_OF_VOLUME
OF_SNAPSHOT = SourceKind.CLONE_OF_SNAPSHOT


class SnapshotContract:
    @pytest.fixture
    def parent(self, client: NodeClient, ssds: list[str]) -> str:
        """A volume of 2 + 1 GiB on two SSDs, of generation 7."""
        spec = volume(piece(ssds[0], 2 * GIB), piece(ssds[1]), generation=7)
        client.ensure_volume("parent", spec)
        return "parent"

    @pytest.fixture
    def spec(self, parent: str, ssds: list[str]) -> SnapshotSpec:
        return snapshot(piece(ssds[0], 2 * GIB, GIB), piece(ssds[1], GIB, 4096))

    def test_a_repeated_snapshot_is_taken_once(
        self, client: NodeClient, spec: SnapshotSpec, uuid: str
    ) -> None:
        free = [ssd.free for ssd in client.read_node().ssds[:2]]
        assert client.read_snapshot(uuid) is None
        assert client.ensure_snapshot(uuid, spec) is True
        assert client.ensure_snapshot(uuid, spec) is False
        found = client.read_snapshot(uuid)
        assert found is not None
        assert found.uuid == uuid
        assert SnapshotSpec(**found.model_dump(include=set(SnapshotSpec.model_fields))) == spec
        assert client.list_snapshots() == (found,)
        reserved = [free[0] - GIB, free[1] - 4096]
        assert [ssd.free for ssd in client.read_node().ssds[:2]] == reserved

    def test_snapshots_are_listed_in_order(self, client: NodeClient, spec: SnapshotSpec) -> None:
        names = [f"snapshot-{letter}" for letter in "cab"]
        for name in names:
            client.ensure_snapshot(name, spec)
        assert [one.uuid for one in client.list_snapshots()] == sorted(names)

    def test_a_snapshot_and_a_volume_may_have_the_same_uuid(
        self, client: NodeClient, parent: str, spec: SnapshotSpec
    ) -> None:
        assert client.ensure_snapshot(parent, spec) is True
        client.remove_snapshot(parent, 1)
        assert client.read_volume(parent) is not None
        assert client.list_snapshots() == ()

    def test_removing_a_snapshot_may_be_repeated(
        self, client: NodeClient, spec: SnapshotSpec, uuid: str
    ) -> None:
        before = client.read_node().ssds
        client.ensure_snapshot(uuid, spec)
        client.remove_snapshot(uuid, 1)
        client.remove_snapshot(uuid, 1)
        client.remove_snapshot("never-there", 1)
        assert client.list_snapshots() == ()
        assert client.read_node().ssds == before

    def test_a_volume_with_snapshots_cannot_be_removed(
        self, client: NodeClient, parent: str, spec: SnapshotSpec, uuid: str
    ) -> None:
        client.ensure_snapshot(uuid, spec)
        refused(RefusalCode.IN_USE, lambda: client.remove_volume(parent, 7), uuid)
        client.remove_snapshot(uuid, 1)
        client.remove_volume(parent, 7)

    def test_a_volume_with_snapshots_can_be_expanded(
        self, client: NodeClient, parent: str, spec: SnapshotSpec, ssds: list[str], uuid: str
    ) -> None:
        client.ensure_snapshot(uuid, spec)
        larger = volume(piece(ssds[0], 2 * GIB), piece(ssds[1], 3 * GIB), generation=7)
        client.change_volume(parent, larger)
        assert client.ensure_snapshot(uuid, spec) is False
        refused(RefusalCode.CONFLICT, lambda: client.ensure_snapshot("later", spec), str(3 * GIB))

    @pytest.mark.breaks_generations
    def test_a_different_snapshot_of_that_name_is_a_conflict(
        self, client: NodeClient, spec: SnapshotSpec, ssds: list[str], uuid: str
    ) -> None:
        client.ensure_snapshot(uuid, spec)
        more = snapshot(piece(ssds[0], 2 * GIB, 2 * GIB), piece(ssds[1], GIB, 4096))
        values = (str(GIB), str(2 * GIB))
        refused(RefusalCode.CONFLICT, lambda: client.ensure_snapshot(uuid, more), *values)

    def test_a_snapshot_of_an_unknown_volume_is_refused(
        self, client: NodeClient, spec: SnapshotSpec, uuid: str
    ) -> None:
        for wrong in ({"volume_uuid": "none"}, {"volume_generation": 6}):
            other = spec.model_copy(update=wrong)
            name = f"of-{next(iter(wrong))}"
            refused(RefusalCode.NOT_FOUND, partial(client.ensure_snapshot, name, other))
        assert client.list_snapshots() == ()

    def test_a_snapshot_without_space_leaves_nothing(
        self, client: NodeClient, ssds: list[str], uuid: str
    ) -> None:
        size = client.read_node().ssds[0].capacity // 4096 * 4096
        thin = volume(piece(ssds[0], size, size // 2), provisioning_type=ProvisioningType.THIN)
        client.ensure_volume("thin", thin)
        node = client.read_node()
        spec = snapshot(piece(ssds[0], size), volume_uuid="thin", volume_generation=1)
        refused(RefusalCode.NO_SPACE, lambda: client.ensure_snapshot(uuid, spec), ssds[0])
        assert (client.read_node(), client.list_snapshots()) == (node, ())

    def test_older_generations_of_a_snapshot_are_stale(
        self, client: NodeClient, spec: SnapshotSpec, uuid: str, restart: Restart
    ) -> None:
        fifth = spec.model_copy(update={"generation": 5})
        sixth = spec.model_copy(update={"generation": 6})
        client.ensure_snapshot(uuid, fifth)
        refused(RefusalCode.STALE, lambda: client.ensure_snapshot(uuid, spec), "1", "5")
        refused(RefusalCode.STALE, lambda: client.remove_snapshot(uuid, 4))
        refused(RefusalCode.CONFLICT, lambda: client.ensure_snapshot(uuid, sixth), "5", "6")
        client.remove_snapshot(uuid, 5)
        restart()
        refused(RefusalCode.STALE, lambda: client.ensure_snapshot(uuid, fifth))
        assert client.ensure_snapshot(uuid, sixth) is True

    def test_snapshots_survive_a_restart(
        self, client: NodeClient, spec: SnapshotSpec, uuid: str, restart: Restart
    ) -> None:
        client.ensure_snapshot(uuid, spec)
        snapshots, free = client.list_snapshots(), client.read_node().ssds
        restart()
        assert client.list_snapshots() == snapshots
        await_ssds(client, free)


class SourceContract:
    @pytest.fixture
    def plain(self, client: NodeClient, ssds: list[str]) -> str:
        client.ensure_volume("plain", volume(piece(ssds[0], 2 * GIB), generation=7))
        return "plain"

    @pytest.fixture
    def taken(self, client: NodeClient, plain: str, ssds: list[str]) -> str:
        client.ensure_snapshot("taken", snapshot(piece(ssds[0], 2 * GIB, 0), volume_uuid="plain"))
        return "taken"

    @pytest.mark.parametrize("kind", [READ_ONLY, WRITABLE])
    def test_a_snapshot_has_one_snapshot_volume_that_keeps_it(
        self, client: NodeClient, taken: str, ssds: list[str], uuid: str, *, kind: SourceKind
    ) -> None:
        free = client.read_node().ssds[0].free
        spec = derived(piece(ssds[0], 2 * GIB, 4096), kind=kind, of=taken, qos=Qos(max_iops=5))
        assert client.ensure_volume(uuid, spec) is True
        assert client.ensure_volume(uuid, spec) is False
        found = client.read_volume(uuid)
        assert found is not None
        assert (found.source, found.pieces) == (spec.source, spec.pieces)
        assert client.read_node().ssds[0].free == free - 4096
        refused(RefusalCode.IN_USE, lambda: client.remove_snapshot(taken, 1), uuid)
        refused(RefusalCode.IN_USE, lambda: client.ensure_volume("second", spec), uuid)
        client.ensure_namespace(TARGET, uuid, namespace())
        refused(RefusalCode.IN_USE, lambda: client.remove_volume(uuid, 1), TARGET)
        client.remove_namespace(TARGET, uuid, 1)
        client.remove_volume(uuid, 1)
        assert client.ensure_volume("second", spec) is True
        client.remove_volume("second", 1)
        client.remove_snapshot(taken, 1)

    @pytest.mark.breaks_generations
    def test_only_a_read_only_snapshot_volume_cannot_be_expanded(
        self, client: NodeClient, plain: str, taken: str, ssds: list[str]
    ) -> None:
        client.ensure_snapshot("other", snapshot(piece(ssds[0], 2 * GIB, 0), volume_uuid="plain"))
        for kind, source in ((READ_ONLY, taken), (WRITABLE, "other")):
            client.ensure_volume(source, derived(piece(ssds[0], 2 * GIB, 0), kind=kind, of=source))
        larger = derived(piece(ssds[0], 3 * GIB, GIB), kind=READ_ONLY, of=taken)
        refused(RefusalCode.CONFLICT, lambda: client.change_volume(taken, larger), str(3 * GIB))
        larger = derived(piece(ssds[0], 3 * GIB, GIB), kind=WRITABLE, of="other")
        client.change_volume("other", larger)

    def test_a_read_only_snapshot_volume_has_no_snapshots(
        self, client: NodeClient, taken: str, ssds: list[str]
    ) -> None:
        client.ensure_volume("shown", derived(piece(ssds[0], 2 * GIB, 0), kind=READ_ONLY, of=taken))
        spec = snapshot(piece(ssds[0], 2 * GIB, 0), volume_uuid="shown", volume_generation=1)
        refused(RefusalCode.CONFLICT, lambda: client.ensure_snapshot("s", spec), "read-only")

    @pytest.mark.parametrize(("kind", "of"), [(OF_VOLUME, "plain"), (OF_SNAPSHOT, "taken")])
    def test_a_clone_survives_the_removal_of_its_source(
        self,
        client: NodeClient,
        taken: str,
        ssds: list[str],
        restart: Restart,
        *,
        kind: SourceKind,
        of: str,
    ) -> None:
        free = client.read_node().ssds[0].free
        generation = 7 if of == "plain" else 1
        pieces = piece(ssds[0], 5 * GIB, GIB), piece(ssds[1], GIB, 0)
        spec = derived(*pieces, kind=kind, of=of, generation_of=generation)
        assert client.ensure_volume("clone", spec) is True
        assert client.read_node().ssds[0].free == free - GIB
        client.remove_snapshot(taken, 1)
        client.remove_volume("plain", 7)
        restart()
        assert client.ensure_volume("clone", spec) is False
        larger = derived(
            pieces[0], piece(ssds[1], 9 * GIB, 0), kind=kind, of=of, generation_of=generation
        )
        client.change_volume("clone", larger)
        client.remove_volume("clone", 1)
        assert client.list_volumes() == ()

    def test_an_unknown_source_is_refused(
        self, client: NodeClient, plain: str, taken: str, ssds: list[str]
    ) -> None:
        """This is so even if another object has its name now."""
        for kind, of, generation in (
            (OF_VOLUME, "none", 7),
            (OF_VOLUME, plain, 8),
            (OF_VOLUME, taken, 1),
            (OF_SNAPSHOT, plain, 7),
            (OF_SNAPSHOT, taken, 2),
            (READ_ONLY, "none", 1),
        ):
            spec = derived(piece(ssds[0], 2 * GIB, 0), kind=kind, of=of, generation_of=generation)
            refused(RefusalCode.NOT_FOUND, partial(client.ensure_volume, f"{kind}{of}", spec), of)
        assert [one.uuid for one in client.list_volumes()] == [plain]

    def test_a_layout_that_contradicts_the_source_is_refused(
        self, client: NodeClient, plain: str, taken: str, ssds: list[str]
    ) -> None:
        here, there = ssds[0], ssds[1]
        cases: tuple[tuple[SourceKind, str, tuple[Piece, ...], dict[str, int]], ...] = (
            (READ_ONLY, taken, (piece(there, 2 * GIB, 0),), {}),
            (READ_ONLY, taken, (piece(here, 3 * GIB, 0),), {}),
            (WRITABLE, taken, (piece(here, 2 * GIB, 0), piece(there, GIB, 0)), {}),
            (OF_SNAPSHOT, taken, (piece(here, GIB, 0),), {}),
            (OF_SNAPSHOT, taken, (piece(there, 2 * GIB, 0), piece(here, 2 * GIB, 0)), {}),
            (OF_SNAPSHOT, taken, (piece(here, 2 * GIB, 0),), {"block_size": 512}),
        )
        for number, (kind, of, pieces, more) in enumerate(cases):
            spec = derived(*pieces, kind=kind, of=of, **more)
            refused(RefusalCode.CONFLICT, partial(client.ensure_volume, f"v{number}", spec), of)
        thick = volume(
            piece(here, 2 * GIB), source=Source(kind=OF_SNAPSHOT, uuid=taken, generation=1)
        )
        refused(RefusalCode.INVALID, lambda: client.ensure_volume("thick", thick), "THIN")

    @pytest.mark.breaks_generations
    def test_the_source_of_a_volume_never_changes(
        self, client: NodeClient, plain: str, taken: str, ssds: list[str], uuid: str
    ) -> None:
        here = piece(ssds[0], 2 * GIB, 0)
        client.ensure_volume(uuid, derived(here, kind=OF_SNAPSHOT, of=taken))
        others = (
            derived(here, kind=READ_ONLY, of=taken),
            derived(here, kind=OF_VOLUME, of=plain, generation_of=7),
            volume(here, provisioning_type=ProvisioningType.THIN),
        )
        for spec in others:
            refused(RefusalCode.CONFLICT, partial(client.ensure_volume, uuid, spec), taken)
