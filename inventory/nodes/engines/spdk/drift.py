"""Finds objects in SPDK that are not on record, and recorded objects that are missing."""

from collections import Counter
from collections.abc import Iterator, Mapping

from inventory.nodes.drift import DriftItem, DriftKind
from inventory.nodes.engines.base import Known
from inventory.nodes.engines.spdk.engine_state import EngineState
from inventory.nodes.engines.spdk.names import UNCLEARED, volume_name
from inventory.nodes.engines.spdk.spdk_state import Lvstore, SpdkState
from inventory.nodes.engines.spdk.subsystems import Subsystem, exporter
from inventory.nodes.wire import Piece


def find_drift(
    lvstores: Mapping[str, Lvstore],
    spdk_state: SpdkState,
    subsystems: Mapping[str, Subsystem],
    known: Known,
    engine_state: EngineState,
) -> tuple[DriftItem, ...]:
    """The differences, sorted. ``lvstores``: by SSD id; pieces on other SSDs are not checked."""
    wanted = {volume_name(uuid): spec.pieces for uuid, spec in known.volumes.items()}
    for uuid, spec in known.snapshots.items():
        entry = engine_state.snapshots.get(uuid)
        wanted[entry.name if entry else f"s-{uuid}"] = spec.pieces
    found = [
        *_lvols(lvstores, spdk_state, wanted, engine_state),
        *_raids(lvstores, spdk_state, subsystems, known),
        *(
            DriftItem(kind=DriftKind.SUBSYSTEM, name=nqn)
            for nqn in subsystems
            if nqn not in known.targets
        ),
    ]
    return tuple(sorted(found, key=lambda item: (item.kind, item.name)))


def _raids(
    lvstores: Mapping[str, Lvstore],
    spdk_state: SpdkState,
    subsystems: Mapping[str, Subsystem],
    known: Known,
) -> Iterator[DriftItem]:
    """Unknown raids and missing ones. A volume that is exported by piece has no raid."""
    concat_volumes = {
        volume_name(uuid): spec.pieces
        for uuid, spec in known.volumes.items()
        if len(spec.pieces) > 1
    }
    for name in spdk_state.raids.keys() - concat_volumes.keys():
        yield DriftItem(kind=DriftKind.RAID, name=name)
    for name, pieces in concat_volumes.items():
        there = [lvstores[piece.ssd_id] for piece in pieces if piece.ssd_id in lvstores]
        lvols = [spdk_state.find(lvstore, name) for lvstore in there]
        by_piece = any(lvol and exporter(subsystems, lvol.uuid) for lvol in lvols)
        if len(there) == len(pieces) and name not in spdk_state.bdevs and not by_piece:
            yield DriftItem(kind=DriftKind.LOST, name=name)


def _lvols(
    lvstores: Mapping[str, Lvstore],
    spdk_state: SpdkState,
    wanted: Mapping[str, tuple[Piece, ...]],
    engine_state: EngineState,
) -> Iterator[DriftItem]:
    for ssd_id, lvstore in lvstores.items():
        there = spdk_state.lvols[lvstore.uuid]
        above = Counter(lvol.parent for lvol in there.values())
        here = {
            name
            for name, pieces in wanted.items()
            if any(piece.ssd_id == ssd_id for piece in pieces)
        }
        ours = {
            name
            for name in there
            if name.startswith(UNCLEARED)
            or (engine_state.is_shared(lvstore.uuid, name) and above[name] > 0)
        }
        for name in sorted(there.keys() - here - ours):
            yield DriftItem(kind=DriftKind.LVOL, name=f"{ssd_id}/{name}")
        for name in sorted(here - there.keys()):
            yield DriftItem(kind=DriftKind.LOST, name=f"{ssd_id}/{name}")
