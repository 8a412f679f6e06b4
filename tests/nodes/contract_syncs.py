"""The engines' contract for copies to another node."""

from functools import partial
from typing import Any

import pytest

from inventory.nodes.client import NodeClient
from inventory.nodes.wire import Portal, RefusalCode, Sync, SyncSpec, SyncState
from tests.nodes.specs import (
    COPY_TARGET,
    GIB,
    MIB,
    NODE_HOST,
    OTHER_HOST,
    OTHER_TARGET,
    TARGET,
    Restart,
    ended,
    namespace,
    open_copy,
    piece,
    pieces_on,
    refused,
    ssd_of,
    sync,
    volume,
)


class SyncContract:
    @pytest.fixture
    def source(self, client: NodeClient, ssds: list[str]) -> str:
        client.ensure_volume("read", volume(piece(ssds[0])))
        return "read"

    @pytest.fixture
    def copy(self, peer: NodeClient) -> SyncSpec:
        """A copy to the peer that can succeed."""
        return open_copy(peer)

    def test_a_repeated_copy_is_done_once(
        self, client: NodeClient, source: str, copy: SyncSpec
    ) -> None:
        assert client.read_sync(source) is None
        assert client.ensure_sync(source, copy) is True
        expected = Sync(state=SyncState.DONE, bytes_done=GIB, bytes_total=GIB, **dict(copy))
        assert ended(client, source, SyncState.DONE) == expected
        assert client.ensure_sync(source, copy) is False
        elsewhere = (Portal(ip="10.9.9.9", port=4420),)
        assert client.ensure_sync(source, _with(copy, portals=elsewhere)) is False
        assert client.read_sync(source) == expected

    @pytest.mark.parametrize("block_size", [512, 4096])
    def test_a_copy_into_a_larger_volume_succeeds(
        self, client: NodeClient, peer: NodeClient, block_size: int
    ) -> None:
        ssd = ssd_of(client, block_size)
        client.ensure_volume("read", volume(piece(ssd), block_size=block_size))
        copy = open_copy(peer, 2 * GIB, block_size=block_size)
        client.ensure_sync("read", copy)
        assert ended(client, "read", SyncState.DONE).bytes_total == GIB

    def test_a_spanned_volume_is_copied_piece_by_piece(
        self, client: NodeClient, peer: NodeClient
    ) -> None:
        """A volume that spans SSDs is copied into pieces of the same sizes, and is one volume
        afterwards.
        """
        client.ensure_volume("read", volume(*pieces_on(client, GIB, 64 * MIB)))
        peer.ensure_volume("filled", volume(*pieces_on(peer, GIB, 64 * MIB)))
        spec = namespace(host_nqn=NODE_HOST, by_piece=True)
        assert peer.ensure_namespace(COPY_TARGET, "filled", spec) is True
        assert peer.ensure_namespace(COPY_TARGET, "filled", spec) is False
        client.ensure_sync("read", sync(peer.read_node().portals))
        assert ended(client, "read", SyncState.DONE).bytes_total == GIB + 64 * MIB
        peer.remove_namespace(COPY_TARGET, "filled", 1)
        assert peer.ensure_namespace(TARGET, "filled", namespace()) is True

    def test_a_volume_exported_by_piece_is_alone_in_its_target(self, peer: NodeClient) -> None:
        first, second = pieces_on(peer, 64 * MIB, 64 * MIB)
        peer.ensure_volume("filled", volume(first, second))
        peer.ensure_volume("other", volume(first))
        spec = namespace(host_nqn=NODE_HOST, by_piece=True)
        peer.ensure_namespace(COPY_TARGET, "filled", spec)
        beside = namespace(9, host_nqn=NODE_HOST)
        add = partial(peer.ensure_namespace, COPY_TARGET, "other", beside)
        refused(RefusalCode.CONFLICT, add, "filled", "alone")
        peer.ensure_namespace(OTHER_TARGET, "other", beside)
        whole = partial(peer.ensure_namespace, COPY_TARGET, "filled")
        changed = namespace(generation=2, host_nqn=NODE_HOST)
        refused(RefusalCode.CONFLICT, lambda: whole(changed), "byPiece")

    @pytest.mark.parametrize(
        ("wrong", "part"),
        [
            ({"nqn": OTHER_TARGET}, OTHER_TARGET),
            ({"nsid": 2}, "2"),
            ({"host_nqn": OTHER_HOST}, OTHER_HOST),
            ({"portals": (Portal(ip="127.0.0.1", port=1),)}, "port 1"),
        ],
    )
    def test_a_copy_without_access_fails(
        self, client: NodeClient, source: str, copy: SyncSpec, *, wrong: dict[str, Any], part: str
    ) -> None:
        assert client.ensure_sync(source, _with(copy, **wrong)) is True
        assert ended(client, source, SyncState.FAILED, part).bytes_done == 0

    @pytest.mark.parametrize(
        ("capacity", "block_size", "parts"),
        [
            (GIB - 4 * MIB, 4096, (str(GIB), str(GIB - 4 * MIB))),
            (GIB, 512, ("512", "4096")),
        ],
    )
    def test_a_copy_into_a_volume_that_does_not_fit_fails(
        self,
        client: NodeClient,
        peer: NodeClient,
        source: str,
        *,
        capacity: int,
        block_size: int,
        parts: tuple[str, ...],
    ) -> None:
        copy = open_copy(peer, capacity, block_size=block_size)
        assert client.ensure_sync(source, copy) is True
        ended(client, source, SyncState.FAILED, *parts)

    def test_a_repeated_put_restarts_a_failed_copy(
        self, client: NodeClient, peer: NodeClient, source: str, copy: SyncSpec
    ) -> None:
        peer.remove_namespace(COPY_TARGET, "filled", 1)
        for _ in range(2):
            assert client.ensure_sync(source, copy) is True
            ended(client, source, SyncState.FAILED, COPY_TARGET)
        later = namespace(generation=2, host_nqn=NODE_HOST)
        peer.ensure_namespace(COPY_TARGET, "filled", later)
        assert client.ensure_sync(source, copy) is True
        ended(client, source, SyncState.DONE)

    def test_a_copy_of_an_unknown_volume_is_refused(
        self, client: NodeClient, copy: SyncSpec
    ) -> None:
        refused(RefusalCode.NOT_FOUND, lambda: client.ensure_sync("none", copy), "none")
        assert client.read_sync("none") is None
        older = _with(copy, generation=2)
        refused(RefusalCode.STALE, lambda: client.ensure_sync("none", older), "2", "3")

    def test_a_copy_of_another_generation_of_the_volume_is_refused(
        self, client: NodeClient, source: str, copy: SyncSpec
    ) -> None:
        other = _with(copy, volume_generation=2)
        refused(RefusalCode.NOT_FOUND, lambda: client.ensure_sync(source, other), "2")
        assert client.read_sync(source) is None

    @pytest.mark.breaks_generations
    def test_a_different_copy_of_the_same_generation_is_a_conflict(
        self, client: NodeClient, source: str, copy: SyncSpec
    ) -> None:
        client.ensure_sync(source, copy)
        for wrong in ({"nqn": OTHER_TARGET}, {"nsid": 2}, {"host_nqn": OTHER_HOST}):
            call = partial(client.ensure_sync, source, _with(copy, **wrong))
            refused(RefusalCode.CONFLICT, call, "3", *map(str, wrong.values()))
        ended(client, source, SyncState.DONE)

    def test_a_later_generation_replaces_the_copy(
        self, client: NodeClient, source: str, copy: SyncSpec
    ) -> None:
        client.ensure_sync(source, copy)
        later = _with(copy, generation=4, nqn=OTHER_TARGET)
        assert client.ensure_sync(source, later) is True
        ended(client, source, SyncState.FAILED, OTHER_TARGET)
        refused(RefusalCode.STALE, lambda: client.ensure_sync(source, copy), "3", "4")
        refused(RefusalCode.STALE, lambda: client.remove_sync(source, 3))
        assert client.read_sync(source) is not None

    def test_a_stopped_copy_bars_its_generation(
        self, client: NodeClient, source: str, copy: SyncSpec, restart: Restart
    ) -> None:
        client.ensure_sync(source, copy)
        for _ in range(2):
            client.remove_sync(source, 3)
            assert client.read_sync(source) is None
        client.remove_sync("none", 1)
        restart()
        refused(RefusalCode.STALE, lambda: client.ensure_sync(source, copy))
        assert client.ensure_sync(source, _with(copy, generation=4)) is True

    def test_a_restart_forgets_the_copy(
        self, client: NodeClient, source: str, copy: SyncSpec, restart: Restart
    ) -> None:
        client.ensure_sync(source, copy)
        restart()
        assert client.read_sync(source) is None
        older = _with(copy, generation=2)
        refused(RefusalCode.STALE, lambda: client.ensure_sync(source, older))
        assert client.ensure_sync(source, copy) is True
        ended(client, source, SyncState.DONE)

    def test_a_copy_is_restarted_through_another_target_after_a_restart(
        self, client: NodeClient, peer: NodeClient, source: str, copy: SyncSpec, restart: Restart
    ) -> None:
        """The provisioner does the same: it removes the first target, which ends the copy that was
        left.
        """
        client.ensure_sync(source, copy)
        restart()
        peer.remove_namespace(COPY_TARGET, "filled", 1)
        other = namespace(generation=2, host_nqn=NODE_HOST)
        peer.ensure_namespace(COPY_TARGET, "filled", other)
        assert client.ensure_sync(source, copy) is True
        ended(client, source, SyncState.DONE)
        client.remove_sync(source, 3)
        client.remove_volume(source, 1)

    def test_removing_a_volume_ends_its_copy(
        self, client: NodeClient, ssds: list[str], source: str, copy: SyncSpec
    ) -> None:
        client.ensure_sync(source, copy)
        client.remove_volume(source, 1)
        assert client.read_sync(source) is None
        refused(RefusalCode.NOT_FOUND, lambda: client.ensure_sync(source, copy))
        client.ensure_volume(source, volume(piece(ssds[0]), generation=2))
        assert client.read_sync(source) is None


def _with(copy: SyncSpec, **values: Any) -> SyncSpec:
    return copy.model_copy(update=values)
