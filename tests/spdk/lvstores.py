"""The JSON-RPC methods of lvstores, and the lvstores found when their device appears."""

from typing import Any

from tests.spdk.bdevs import Bdev, FileBdev, Registry
from tests.spdk.lvols import Lvol
from tests.spdk.rpc import (
    EINVAL,
    ENOENT,
    INVALID_PARAMS,
    Module,
    Refused,
    file_exists,
    no_device,
    not_permitted,
)
from tests.spdk.store import CLUSTER, Blob, Store

LVSTORE = "lvol"


class Lvstores:
    """The open lvstores, each with the bdev under it."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.open: dict[str, tuple[FileBdev, Store]] = {}
        registry.on_register.append(self._examine)
        registry.on_remove.append(self._close)

    def find(self, name: str | None, uuid: str | None) -> tuple[FileBdev, Store]:
        """The lvstore with this name or uuid.

        :raises Refused: not exactly one of them is given, or there is no such lvstore.
        """
        if (name is None) == (uuid is None):
            raise Refused(EINVAL, "Invalid argument")
        for base, store in self.open.values():
            if name == store.name or uuid == store.uuid:
                return base, store
        raise no_device()

    def blob(self, name: str) -> tuple[Store, Blob]:
        """The blob with this UUID or alias, also of a degraded lvol.

        :raises Refused: -19
        """
        for _, store in self.open.values():
            for blob in store.blobs.values():
                if name in {blob.uuid, f"{store.name}/{blob.name}"}:
                    return store, blob
        raise no_device()

    def take(self, base: FileBdev, store: Store) -> None:
        base.claimed_by = LVSTORE
        self.open[store.uuid] = (base, store)
        for blob in store.blobs.values():
            self.show(base, store, blob)

    def show(self, base: FileBdev, store: Store, blob: Blob) -> None:
        if not self.is_degraded(blob):
            self.registry.add(Lvol(self.registry, base, store, blob))

    def is_degraded(self, blob: Blob) -> bool:
        return blob.external is not None and self.registry.find(blob.external) is None

    def drop(self, store: Store) -> None:
        """Close the lvstore; its lvols are no longer listed."""
        base, _ = self.open.pop(store.uuid)
        base.claimed_by = ""
        store.closed.set()
        for bdev in self.registry.all():
            if isinstance(bdev, Lvol) and bdev.store is store:
                self.registry.remove(bdev)

    def _examine(self, bdev: Bdev) -> None:
        if isinstance(bdev, FileBdev) and (store := Store.load(bdev.device)):
            if store.uuid not in self.open:
                self.take(bdev, store)
            return
        for base, store in self.open.values():
            for blob in store.blobs.values():
                if blob.external in {bdev.name, bdev.uuid, *bdev.aliases}:
                    self.show(base, store, blob)

    def _close(self, bdev: Bdev) -> None:
        for base, store in list(self.open.values()):
            if base is bdev:
                self.drop(store)


class LvstoreMethods(Module):
    METHODS = (
        "bdev_lvol_create_lvstore",
        "bdev_lvol_delete_lvstore",
        "bdev_lvol_rename_lvstore",
        "bdev_lvol_grow_lvstore",
        "bdev_lvol_get_",
    )

    def __init__(self, lvstores: Lvstores) -> None:
        self._lvstores = lvstores
        self.has_crashed = False

    async def bdev_lvol_create_lvstore(
        self,
        bdev_name: str,
        lvs_name: str,
        cluster_sz: int | None = None,
        clear_method: str = "unmap",
    ) -> str:
        base = self._lvstores.registry.get(bdev_name)
        if base.claimed_by or not isinstance(base, FileBdev):
            raise not_permitted()
        if any(store.name == lvs_name for _, store in self._lvstores.open.values()):
            raise file_exists()
        store = Store.make(base.device, lvs_name, cluster_sz or CLUSTER, clear_method)
        self._lvstores.take(base, store)
        return store.uuid

    async def bdev_lvol_delete_lvstore(
        self, uuid: str | None = None, lvs_name: str | None = None
    ) -> bool:
        _, store = self._lvstores.find(lvs_name, uuid)
        self._lvstores.drop(store)
        store.wipe()
        return True

    async def bdev_lvol_rename_lvstore(self, old_name: str, new_name: str) -> bool:
        stores = [store for _, store in self._lvstores.open.values()]
        found = [store for store in stores if store.name == old_name]
        if not found:
            raise Refused(ENOENT, f"Lvol store {old_name} not found")
        if any(store.name == new_name for store in stores):
            raise Refused(INVALID_PARAMS, "File exists")
        [store] = found
        store.name = new_name
        store.save()
        if any(self._lvstores.is_degraded(blob) for blob in store.blobs.values()):
            self.has_crashed = True
        for bdev in self._lvstores.registry.all():
            if isinstance(bdev, Lvol) and bdev.store is store:
                bdev.aliases = [f"{new_name}/{bdev.blob.name}"]
        return True

    async def bdev_lvol_grow_lvstore(
        self, uuid: str | None = None, lvs_name: str | None = None
    ) -> bool:
        _, store = self._lvstores.find(lvs_name, uuid)
        store.grow()
        return True

    async def bdev_lvol_get_lvstores(
        self,
        uuid: str | None = None,
        lvs_name: str | None = None,
        params_given: bool = False,
    ) -> list[dict[str, Any]]:
        return [_shown(base, store) for base, store in self._chosen(uuid, lvs_name, params_given)]

    async def bdev_lvol_get_lvols(
        self,
        lvs_uuid: str | None = None,
        lvs_name: str | None = None,
        params_given: bool = False,
    ) -> list[dict[str, Any]]:
        return [
            self._shown_blob(store, blob)
            for _, store in self._chosen(lvs_uuid, lvs_name, params_given)
            for blob in store.blobs.values()
            if blob.uuid not in store.lost
        ]

    def _chosen(
        self, uuid: str | None, name: str | None, params_given: bool
    ) -> list[tuple[FileBdev, Store]]:
        if params_given:
            return [self._lvstores.find(name, uuid)]
        return list(self._lvstores.open.values())

    def _shown_blob(self, store: Store, blob: Blob) -> dict[str, Any]:
        return {
            "alias": f"{store.name}/{blob.name}",
            "uuid": blob.uuid,
            "name": blob.name,
            "is_thin_provisioned": blob.is_thin,
            "is_snapshot": blob.is_snapshot,
            "is_clone": blob.parent is not None,
            "is_esnap_clone": blob.external is not None,
            "is_degraded": self._lvstores.is_degraded(blob),
            "num_allocated_clusters": len(blob.clusters),
            "lvs": {"name": store.name, "uuid": store.uuid},
        }


def _shown(base: FileBdev, store: Store) -> dict[str, Any]:
    return {
        "uuid": store.uuid,
        "name": store.name,
        "base_bdev": base.name,
        "total_data_clusters": store.total_clusters,
        "free_clusters": store.free_clusters,
        "block_size": base.block_size,
        "cluster_size": store.cluster_size,
        "max_growable_size": 2**50,
    }
