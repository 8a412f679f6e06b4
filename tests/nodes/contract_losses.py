"""The engines' contract for lost data: a node reports the loss, and never replaces lost data by
something empty.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from inventory.nodes.client import NodeClient
from inventory.nodes.wire import Qos, RefusalCode, SourceKind, SyncState
from tests.nodes.specs import (
    COPY_TARGET,
    GIB,
    MIB,
    NODE_HOST,
    OTHER_TARGET,
    TARGET,
    Restart,
    derived,
    ended,
    namespace,
    open_copy,
    piece,
    pieces_on,
    refused,
    snapshot,
    ssd_of,
    volume,
)

Vanish = Callable[[str], None]
NOT_FOUND = RefusalCode.NOT_FOUND
OF_VOLUME, OF_SNAPSHOT = SourceKind.CLONE_OF_VOLUME, SourceKind.CLONE_OF_SNAPSHOT


class LossContract:
    """``vanish`` removes a volume or snapshot from the data plane without the agent."""

    @pytest.fixture
    def vanish(self) -> Vanish:
        raise NotImplementedError

    def test_a_lost_volume_is_not_listed(
        self, client: NodeClient, ssds: list[str], vanish: Vanish, restart: Restart
    ) -> None:
        for uuid in ("lost", "kept"):
            client.ensure_volume(uuid, volume(piece(ssds[0])))
        vanish("lost")
        for _ in range(2):
            assert client.read_volume("lost") is None
            assert [one.uuid for one in client.list_volumes()] == ["kept"]
            restart()

    @pytest.mark.breaks_generations
    @pytest.mark.parametrize("restarted", [False, True])
    def test_a_lost_volume_is_never_changed_or_recreated(
        self,
        client: NodeClient,
        ssds: list[str],
        vanish: Vanish,
        restart: Restart,
        *,
        restarted: bool,
    ) -> None:
        spec = volume(piece(ssds[0]))
        client.ensure_volume("lost", spec)
        vanish("lost")
        if restarted:
            restart()
        node = client.read_node()
        for other in (
            spec,
            volume(piece(ssds[0], 2 * GIB)),
            volume(piece(ssds[0]), piece(ssds[1])),
            volume(piece(ssds[0]), qos=Qos(max_iops=5000)),
        ):
            refused(NOT_FOUND, partial(client.change_volume, "lost", other), "lost")
        refused(NOT_FOUND, lambda: client.ensure_volume("lost", spec), "lost")
        assert client.list_volumes() == ()
        assert client.read_node() == node

    def test_a_lost_volume_cannot_be_referred_to(
        self, client: NodeClient, peer: NodeClient, ssds: list[str], vanish: Vanish
    ) -> None:
        client.ensure_volume("lost", volume(piece(ssds[0])))
        copy = open_copy(peer)
        vanish("lost")
        taken = snapshot(piece(ssds[0], GIB, 0), volume_uuid="lost", volume_generation=1)
        clone = derived(piece(ssds[0], GIB, 0), kind=OF_VOLUME, of="lost")
        for call in (
            lambda: client.ensure_namespace(TARGET, "lost", namespace()),
            lambda: client.ensure_snapshot("taken", taken),
            lambda: client.ensure_volume("clone", clone),
            lambda: client.ensure_sync("lost", copy),
        ):
            refused(NOT_FOUND, call, "lost")
        assert client.list_targets() == ()
        assert client.list_snapshots() == ()
        assert client.list_volumes() == ()
        assert client.read_sync("lost") is None

    def test_an_export_of_a_lost_volume_is_not_confirmed(
        self, client: NodeClient, ssds: list[str], vanish: Vanish, restart: Restart
    ) -> None:
        for nsid, uuid in enumerate(("lost", "kept"), 1):
            client.ensure_volume(uuid, volume(piece(ssds[0])))
            client.ensure_namespace(TARGET, uuid, namespace(nsid))
        vanish("lost")
        for _ in range(2):
            same = namespace()
            refused(NOT_FOUND, partial(client.ensure_namespace, TARGET, "lost", same), "lost")
            assert client.ensure_namespace(TARGET, "kept", namespace(2)) is False
            [target] = client.list_targets()
            assert [one.volume_uuid for one in target.namespaces] == ["kept"]
            restart()

    def test_a_copy_into_a_lost_volume_fails(
        self, client: NodeClient, peer: NodeClient, vanish: Vanish
    ) -> None:
        """The peer is the source, because ``vanish`` acts on the first node. The other namespace
        shows a Linux host at once that it has found all of them.
        """
        peer.ensure_volume("read", volume(piece(ssd_of(peer, 4096))))
        copy = open_copy(client)
        client.ensure_volume("other", volume(piece(ssd_of(client, 4096))))
        client.ensure_namespace(COPY_TARGET, "other", namespace(2, host_nqn=NODE_HOST))
        vanish("filled")
        assert peer.ensure_sync("read", copy) is True
        ended(peer, "read", SyncState.FAILED)

    def test_a_lost_volume_can_be_removed_and_created_with_a_new_generation(
        self, client: NodeClient, ssds: list[str], vanish: Vanish
    ) -> None:
        before = client.read_node()
        client.ensure_volume("lost", volume(piece(ssds[0])))
        client.ensure_namespace(TARGET, "lost", namespace())
        vanish("lost")
        refused(RefusalCode.IN_USE, lambda: client.remove_volume("lost", 1), TARGET)
        client.remove_namespace(TARGET, "lost", 1)
        client.remove_volume("lost", 1)
        assert client.read_node().ssds == before.ssds
        assert client.ensure_volume("lost", volume(piece(ssds[0]), generation=2)) is True
        assert client.ensure_namespace(OTHER_TARGET, "lost", namespace()) is True

    def test_a_volume_with_a_lost_piece_is_lost(
        self, client: NodeClient, vanish: Vanish, restart: Restart
    ) -> None:
        pieces = pieces_on(client, GIB, 64 * MIB)
        client.ensure_volume("lost", volume(*pieces))
        vanish("lost")
        larger = volume(pieces[0], piece(pieces[1].ssd_id, 128 * MIB))
        for _ in range(2):
            refused(NOT_FOUND, partial(client.change_volume, "lost", larger), "lost")
            refused(NOT_FOUND, partial(client.ensure_volume, "lost", volume(*pieces)), "lost")
            assert client.list_volumes() == ()
            restart()

    def test_a_lost_snapshot_is_not_taken_again(
        self, client: NodeClient, ssds: list[str], vanish: Vanish, restart: Restart
    ) -> None:
        client.ensure_volume("parent", volume(piece(ssds[0]), generation=7))
        spec = snapshot(piece(ssds[0], GIB, 0))
        client.ensure_snapshot("taken", spec)
        vanish("taken")
        shown = derived(
            piece(ssds[0], GIB, 0), kind=SourceKind.READ_ONLY_SNAPSHOT_VOLUME, of="taken"
        )
        clone = derived(piece(ssds[0], GIB, 0), kind=OF_SNAPSHOT, of="taken")
        for _ in range(2):
            assert client.read_snapshot("taken") is None
            assert client.list_snapshots() == ()
            refused(NOT_FOUND, lambda: client.ensure_snapshot("taken", spec), "taken")
            refused(NOT_FOUND, lambda: client.ensure_volume("shown", shown), "taken")
            refused(NOT_FOUND, lambda: client.ensure_volume("clone", clone), "taken")
            restart()
        client.remove_snapshot("taken", 1)
        client.remove_volume("parent", 7)

    @pytest.mark.parametrize(("kind", "of"), [(OF_VOLUME, "parent"), (OF_SNAPSHOT, "taken")])
    def test_a_lost_clone_is_not_cloned_again(
        self, client: NodeClient, ssds: list[str], vanish: Vanish, *, kind: SourceKind, of: str
    ) -> None:
        """The content of its source may have changed since."""
        client.ensure_volume("parent", volume(piece(ssds[0]), generation=7))
        client.ensure_snapshot("taken", snapshot(piece(ssds[0], GIB, 0)))
        generation = 7 if of == "parent" else 1
        more: dict[str, Any] = {"kind": kind, "of": of, "generation_of": generation}
        clone = derived(piece(ssds[0], GIB, 0), **more)
        client.ensure_volume("clone", clone)
        vanish("clone")
        refused(NOT_FOUND, lambda: client.ensure_volume("clone", clone), "clone")
        larger = derived(piece(ssds[0], 2 * GIB, 0), **more)
        refused(NOT_FOUND, lambda: client.change_volume("clone", larger), "clone")
        assert [one.uuid for one in client.list_volumes()] == ["parent"]
