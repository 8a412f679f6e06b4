"""Checks that recorded objects exist in SPDK. An object that does not exist there is lost, and is
never created again.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import TypeVar

from inventory.nodes.engines.base import Held
from inventory.nodes.engines.records import SnapshotEntry, VolumeEntry
from inventory.nodes.engines.spdk.engine_state import EngineState
from inventory.nodes.engines.spdk.kept_state import KeptState
from inventory.nodes.engines.spdk.lvstores import Stores
from inventory.nodes.engines.spdk.names import volume_name
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import Piece, RefusalCode

E = TypeVar("E", VolumeEntry, SnapshotEntry)


def find_held(
    stores: Stores, spdk_state: KeptState, engine_state: EngineState, only: Held | None
) -> Held:
    """Return the volumes and snapshots of which every piece has its lvol, according to the last
    read. ``only``: see :class:`Engine`.
    """

    def is_whole(name: str, pieces: Iterable[Piece]) -> bool:
        lvstores = [stores.find(spdk_state, piece.ssd_id) for piece in pieces]
        return all(lvstore and spdk_state.find(lvstore, name) for lvstore in lvstores)

    volumes, snapshots = engine_state.volumes, engine_state.snapshots
    chosen = only or Held(volumes.keys(), snapshots.keys())
    return Held(
        volumes={
            one.uuid
            for one in _entries(volumes, chosen.volumes)
            if one.made and is_whole(volume_name(one.uuid), one.made_pieces)
        },
        snapshots={
            one.uuid
            for one in _entries(snapshots, chosen.snapshots)
            if one.is_made and is_whole(one.name, one.spec.pieces)
        },
    )


async def look_held(
    stores: Stores, spdk_state: KeptState, engine_state: EngineState, only: Held
) -> None:
    """Read the lvols of these volumes and snapshots."""
    lvols = [
        *(
            (volume_name(one.uuid), one.made_pieces)
            for one in _entries(engine_state.volumes, only.volumes)
        ),
        *((one.name, one.spec.pieces) for one in _entries(engine_state.snapshots, only.snapshots)),
    ]
    await asyncio.gather(*(look_pieces(stores, spdk_state, name, pieces) for name, pieces in lvols))


async def look_pieces(
    stores: Stores, spdk_state: KeptState, name: str, pieces: Iterable[Piece]
) -> None:
    """Read the lvol ``name`` on the SSD of each piece."""
    found = (stores.find(spdk_state, piece.ssd_id) for piece in pieces)
    await asyncio.gather(*(spdk_state.look(lvstore, name) for lvstore in found if lvstore))


async def volume_there(
    stores: Stores, spdk_state: KeptState, engine_state: EngineState, uuid: str
) -> VolumeEntry:
    """The entry of an existing volume, whose lvols are read.

    :raises NodeRefused: see :func:`refuse_lost`.
    """
    entry = engine_state.volumes.get(uuid)
    if entry is None or not entry.made:
        raise NodeRefused(RefusalCode.NOT_FOUND, f"volume {uuid} is not on this node")
    what = f"volume {uuid}"
    await refuse_lost(stores, spdk_state, what, volume_name(uuid), entry.made_pieces)
    return entry


async def refuse_lost(
    stores: Stores, spdk_state: KeptState, what: str, name: str, pieces: Iterable[Piece]
) -> None:
    """Read the lvol ``name`` of each piece, and check that it exists.

    :raises NodeRefused: NOT_FOUND: a piece has none; UNAVAILABLE: an SSD is missing.
    """
    pieces = tuple(pieces)
    await look_pieces(stores, spdk_state, name, pieces)
    for piece in pieces:
        if spdk_state.find(stores.get(spdk_state, piece.ssd_id), name) is None:
            raise NodeRefused(
                RefusalCode.NOT_FOUND, f"{what} is lost: SSD {piece.ssd_id} has no {name}"
            )


def _entries(entries: Mapping[str, E], uuids: Iterable[str]) -> list[E]:
    return [entries[uuid] for uuid in uuids if uuid in entries]
