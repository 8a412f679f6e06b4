"""Finds objects of the kernel that are not on record, and recorded objects that are missing."""

from collections.abc import Collection, Iterator

from inventory.nodes.drift import DriftItem, DriftKind
from inventory.nodes.engines.base import Known
from inventory.nodes.engines.linux.mapped import Mapped
from inventory.nodes.engines.linux.names import POOL, snapshot_name, volume_name
from inventory.nodes.engines.linux.opening import Store
from inventory.nodes.engines.linux.stores import Stores


async def find_drift(
    stores: Stores, fronts: Collection[str], targets: Collection[str], known: Known
) -> tuple[DriftItem, ...]:
    """Return the differences, sorted. ``fronts``: those that should exist. ``targets``: those that
    exist. Pieces on absent SSDs are not checked.
    """
    mapped = await stores.mapper.read()
    found = list(_fronts(stores, mapped, fronts))
    for store in stores.all():
        listed = await stores.lvm.logical_volumes(store.ssd, store.vg)
        found += _logical_volumes(store, mapped, listed.keys() - {POOL}, known)
    found += [
        DriftItem(kind=DriftKind.SUBSYSTEM, name=nqn) for nqn in targets if nqn not in known.targets
    ]
    return tuple(sorted(found, key=lambda item: (item.kind, item.name)))


def _fronts(stores: Stores, mapped: Mapped, wanted: Collection[str]) -> Iterator[DriftItem]:
    ours = tuple(f"{store.vg}+" for store in stores.all())
    there = {name for name in mapped.fronts if name.startswith(ours)}
    for name in there - set(wanted):
        yield DriftItem(kind=DriftKind.RAID, name=name)
    for name in set(wanted) - there:
        yield DriftItem(kind=DriftKind.LOST, name=name)


def _logical_volumes(
    store: Store, mapped: Mapped, listed: Collection[str], known: Known
) -> Iterator[DriftItem]:
    pieces = {
        **{volume_name(uuid): spec.pieces for uuid, spec in known.volumes.items()},
        **{snapshot_name(uuid): spec.pieces for uuid, spec in known.snapshots.items()},
    }
    wanted = {
        name
        for name, all_pieces in pieces.items()
        if any(piece.ssd_id == store.ssd.id for piece in all_pieces)
    }
    for name in set(listed) - wanted:
        yield DriftItem(kind=DriftKind.LVOL, name=f"{store.ssd.id}/{name}")
    for name in wanted:
        if name not in listed or store.thin(mapped, name) is None:
            yield DriftItem(kind=DriftKind.LOST, name=f"{store.ssd.id}/{name}")
