"""The JSON-RPC methods of logical volumes."""

import asyncio
import uuid as uuids
from contextlib import suppress
from dataclasses import replace

from tests.spdk.bdevs import Registry
from tests.spdk.lvols import Lvol, lvol
from tests.spdk.lvstores import Lvstores
from tests.spdk.rpc import (
    INTERNAL,
    INVALID_PARAMS,
    Module,
    Refused,
    file_exists,
    no_space,
    not_permitted,
)
from tests.spdk.store import Blob

MIB = 2**20
LONGEST_NAME = 63


class LvolMethods(Module):
    """``clearing``: seconds to clear a deleted lvol, which is not listed meanwhile."""

    METHODS = ("bdev_lvol_",)

    def __init__(self, registry: Registry, lvstores: Lvstores) -> None:
        self.clearing = 0.0
        self._registry = registry
        self._lvstores = lvstores

    async def bdev_lvol_create(
        self,
        lvol_name: str,
        size_in_mib: int,
        uuid: str | None = None,
        lvs_name: str | None = None,
        thin_provision: bool = False,
        clear_method: str = "unmap",
    ) -> str:
        base, store = self._lvstores.find(lvs_name, uuid)
        if not 0 < len(lvol_name.encode()) <= LONGEST_NAME:
            raise _invalid_argument()
        if store.has(lvol_name):
            raise file_exists()
        if clear_method not in {"none", "unmap", "write_zeroes"}:
            raise _invalid_argument()
        size = store.clusters_for(_bytes(size_in_mib)) * store.cluster_size
        blob = Blob(str(uuids.uuid4()), lvol_name, size, thin_provision, clear_method)
        store.add(blob)
        self._lvstores.show(base, store, blob)
        return blob.uuid

    async def bdev_lvol_delete(self, name: str) -> bool:
        """A busy lvol is lost. If the drive is removed meanwhile, the deletion fails. Both are not
        measured, but SPDK's source does so.
        """
        store, blob = self._lvstores.blob(name)
        if len(store.children(blob)) > 1:
            raise not_permitted(INTERNAL)
        bdev = self._registry.find(blob.uuid)
        if bdev is not None:
            self._registry.remove(bdev)
        if blob.uuid in store.busy:
            store.lost.add(blob.uuid)
            raise Refused(INTERNAL, "Device or resource busy")
        places = store.forget(blob)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.clearing):
                await store.closed.wait()
        if store.closed.is_set():
            raise Refused(INTERNAL, "Input/output error")
        store.release(blob, places)
        return True

    async def bdev_lvol_rename(self, old_name: str, new_name: str) -> bool:
        """Snapshots cannot be renamed. Not measured, but SPDK's source does so."""
        found = self._find(old_name)
        if found.store.has(new_name):
            raise Refused(INVALID_PARAMS, "File exists")
        if found.blob.is_read_only:
            raise not_permitted(INVALID_PARAMS)
        found.blob.name = new_name
        found.aliases = [f"{found.store.name}/{new_name}"]
        found.store.save()
        return True

    async def bdev_lvol_resize(self, name: str, size_in_mib: int) -> bool:
        found = self._find(name)
        if found.blob.is_read_only:
            raise not_permitted(INVALID_PARAMS)
        found.store.resize(found.blob, _bytes(size_in_mib))
        self._registry.note("bdev_resize", found)
        return True

    async def bdev_lvol_snapshot(self, lvol_name: str, snapshot_name: str) -> str:
        found = self._find(lvol_name)
        store, source = found.store, found.blob
        if store.has(snapshot_name):
            raise Refused(INVALID_PARAMS, "File exists")
        if source.is_read_only:
            raise _invalid_argument()
        snapshot = replace(
            source,
            uuid=str(uuids.uuid4()),
            name=snapshot_name,
            is_thin=True,
            is_snapshot=True,
            is_read_only=True,
        )
        source.clusters, source.parent, source.external = {}, snapshot.uuid, None
        source.is_thin = True
        store.add(snapshot)
        self._lvstores.show(found.base, store, snapshot)
        return snapshot.uuid

    async def bdev_lvol_clone(self, snapshot_name: str, clone_name: str) -> str:
        """The clone has the default clear method, whatever the snapshot has. Not measured, but
        SPDK's source does so.
        """
        found = self._find(snapshot_name)
        if found.store.has(clone_name):
            raise Refused(INVALID_PARAMS, "File exists")
        if not found.blob.is_snapshot:
            raise _invalid_argument()
        uuid, size, parent = str(uuids.uuid4()), found.blob.size, found.blob.uuid
        blob = Blob(uuid, clone_name, size, True, "unmap", parent=parent)
        found.store.add(blob)
        self._lvstores.show(found.base, found.store, blob)
        return blob.uuid

    async def bdev_lvol_clone_bdev(self, bdev: str, lvs_name: str, clone_name: str) -> str:
        source = self._registry.get(bdev)
        base, store = self._lvstores.find(lvs_name, None)
        if store.has(clone_name):
            raise Refused(INVALID_PARAMS, "File exists")
        size = store.clusters_for(source.size) * store.cluster_size
        uuid = str(uuids.uuid4())
        blob = Blob(uuid, clone_name, size, True, "unmap", external=source.uuid)
        store.add(blob)
        self._lvstores.show(base, store, blob)
        return blob.uuid

    async def bdev_lvol_inflate(self, name: str) -> bool:
        found = self._find(name)
        count = found.store.clusters_for(found.size)
        await self._fill(found, set(range(count)))
        found.blob.parent = found.blob.external = None
        found.blob.is_thin = False
        found.store.save()
        return True

    async def bdev_lvol_decouple_parent(self, name: str) -> bool:
        found = self._find(name)
        parent = found.store.parent(found.blob)
        if parent is None and found.blob.external is None:
            raise _invalid_argument()
        count = found.store.clusters_for(found.size)
        every = set(range(count))
        await self._fill(found, every if parent is None else every & set(parent.clusters))
        found.blob.parent = parent.parent if parent else None
        found.blob.external = parent.external if parent else None
        found.store.save()
        return True

    async def bdev_lvol_set_read_only(self, name: str) -> bool:
        found = self._find(name)
        found.blob.is_read_only = True
        found.store.save()
        return True

    async def bdev_lvol_set_parent(self, lvol_name: str, parent_name: str) -> bool:
        found, parent = self._find(lvol_name), self._find(parent_name)
        if parent.store is not found.store or not parent.blob.is_snapshot:
            raise _invalid_argument()
        if not found.blob.is_thin or found.size != parent.size:
            raise _invalid_argument()
        found.blob.parent, found.blob.external = parent.blob.uuid, None
        found.store.save()
        return True

    async def _fill(self, found: Lvol, indices: set[int]) -> None:
        missing = indices - set(found.blob.clusters)
        if len(missing) > found.store.free_clusters:
            raise no_space()
        for index in sorted(missing):
            await found.fill(index, found.blob)

    def _find(self, name: str) -> Lvol:
        return lvol(self._registry.get(name))


def _bytes(size_in_mib: int) -> int:
    """The bytes, cut to 64 bits."""
    return size_in_mib * MIB % 2**64


def _invalid_argument() -> Refused:
    return Refused(INVALID_PARAMS, "Invalid argument")
