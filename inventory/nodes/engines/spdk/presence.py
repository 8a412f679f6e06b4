"""Checks that recorded objects exist in SPDK. An object that does not is lost and never
recreated.
"""

from collections.abc import Iterable

from inventory.nodes.engines.base import Held
from inventory.nodes.engines.records import VolumeEntry
from inventory.nodes.engines.spdk.engine_state import EngineState
from inventory.nodes.engines.spdk.lvstores import Stores
from inventory.nodes.engines.spdk.names import volume_name
from inventory.nodes.engines.spdk.spdk_state import SpdkState
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import Piece, RefusalCode


def find_held(stores: Stores, spdk_state: SpdkState, engine_state: EngineState) -> Held:
    """The volumes and snapshots of which every piece has its lvol."""

    def is_whole(name: str, pieces: Iterable[Piece]) -> bool:
        lvstores = [stores.find(spdk_state, piece.ssd_id) for piece in pieces]
        return all(lvstore and spdk_state.find(lvstore, name) for lvstore in lvstores)

    return Held(
        volumes={
            one.uuid
            for one in engine_state.volumes.values()
            if one.made and is_whole(volume_name(one.uuid), one.made_pieces)
        },
        snapshots={
            one.uuid
            for one in engine_state.snapshots.values()
            if one.is_made and is_whole(one.name, one.spec.pieces)
        },
    )


def volume_there(
    stores: Stores, spdk_state: SpdkState, engine_state: EngineState, uuid: str
) -> VolumeEntry:
    """The entry of an existing volume.

    :raises NodeRefused: see :func:`refuse_lost`.
    """
    entry = engine_state.volumes.get(uuid)
    if entry is None or not entry.made:
        raise NodeRefused(RefusalCode.NOT_FOUND, f"volume {uuid} is not on this node")
    refuse_lost(stores, spdk_state, f"volume {uuid}", volume_name(uuid), entry.made_pieces)
    return entry


def refuse_lost(
    stores: Stores, spdk_state: SpdkState, what: str, name: str, pieces: Iterable[Piece]
) -> None:
    """Check that each piece has its lvol ``name``.

    :raises NodeRefused: NOT_FOUND: a piece has none; UNAVAILABLE: an SSD is missing.
    """
    for piece in pieces:
        if spdk_state.find(stores.get(spdk_state, piece.ssd_id), name) is None:
            raise NodeRefused(
                RefusalCode.NOT_FOUND, f"{what} is lost: SSD {piece.ssd_id} has no {name}"
            )
