"""What a target has and nobody knows of, and what it should have and has not."""

from collections import Counter
from collections.abc import Iterator, Mapping

from inventory.nodes.drift import Stray, StrayKind
from inventory.nodes.engines.base import Known
from inventory.nodes.engines.spdk.engine_state import Books
from inventory.nodes.engines.spdk.names import UNCLEARED, volume_name
from inventory.nodes.engines.spdk.spdk_state import Lvstore, View
from inventory.nodes.engines.spdk.subsystems import Subsystem, exporter
from inventory.nodes.wire import Piece


def find_strays(
    lvstores: Mapping[str, Lvstore],
    view: View,
    subsystems: Mapping[str, Subsystem],
    known: Known,
    books: Books,
) -> tuple[Stray, ...]:
    """In order. ``lvstores`` by SSD; the pieces on other SSDs are not looked for."""
    wanted = {volume_name(uuid): spec.pieces for uuid, spec in known.volumes.items()}
    for uuid, spec in known.snapshots.items():
        entry = books.snapshots.get(uuid)
        wanted[entry.name if entry else f"s-{uuid}"] = spec.pieces
    found = [
        *_lvols(lvstores, view, wanted, books),
        *_raids(lvstores, view, subsystems, known),
        *(
            Stray(kind=StrayKind.SUBSYSTEM, name=nqn)
            for nqn in subsystems
            if nqn not in known.targets
        ),
    ]
    return tuple(sorted(found, key=lambda stray: (stray.kind, stray.name)))


def _raids(
    lvstores: Mapping[str, Lvstore],
    view: View,
    subsystems: Mapping[str, Subsystem],
    known: Known,
) -> Iterator[Stray]:
    """There is none while a target has the pieces."""
    spans = {
        volume_name(uuid): spec.pieces
        for uuid, spec in known.volumes.items()
        if len(spec.pieces) > 1
    }
    for name in view.raids.keys() - spans.keys():
        yield Stray(kind=StrayKind.RAID, name=name)
    for name, pieces in spans.items():
        there = [lvstores[piece.ssd_id] for piece in pieces if piece.ssd_id in lvstores]
        lvols = [view.find(lvstore, name) for lvstore in there]
        by_piece = any(lvol and exporter(subsystems, lvol.uuid) for lvol in lvols)
        if len(there) == len(pieces) and name not in view.bdevs and not by_piece:
            yield Stray(kind=StrayKind.LOST, name=name)


def _lvols(
    lvstores: Mapping[str, Lvstore],
    view: View,
    wanted: Mapping[str, tuple[Piece, ...]],
    books: Books,
) -> Iterator[Stray]:
    for ssd_id, lvstore in lvstores.items():
        there = view.lvols[lvstore.uuid]
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
            or (books.is_shared(lvstore.uuid, name) and above[name] > 0)
        }
        for name in sorted(there.keys() - here - ours):
            yield Stray(kind=StrayKind.LVOL, name=f"{ssd_id}/{name}")
        for name in sorted(here - there.keys()):
            yield Stray(kind=StrayKind.LOST, name=f"{ssd_id}/{name}")
