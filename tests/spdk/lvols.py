"""Logical volumes as block devices."""

from typing import Any

from tests.spdk.bdevs import Bdev, FileBdev, Registry
from tests.spdk.rpc import no_device
from tests.spdk.store import Blob, Store


class Lvol(Bdev):
    product = "Logical Volume"

    def __init__(self, registry: Registry, base: FileBdev, store: Store, blob: Blob) -> None:
        super().__init__(blob.uuid, base.block_size, blob.uuid)
        self._registry = registry
        self.base = base
        self.store = store
        self.blob = blob
        self.aliases = [f"{store.name}/{blob.name}"]

    @property
    def size(self) -> int:
        return self.blob.size

    def specific(self) -> dict[str, Any]:
        blob, parent = self.blob, self.store.parent(self.blob)
        shown: dict[str, Any] = {
            "lvol_store_uuid": self.store.uuid,
            "base_bdev": self.base.name,
            "thin_provision": blob.is_thin,
            "num_allocated_clusters": len(blob.clusters),
            "snapshot": blob.is_snapshot,
            "clone": parent is not None,
            "esnap_clone": blob.external is not None,
        }
        if parent is not None and parent.uuid not in self.store.lost:
            shown["base_snapshot"] = parent.name
        if blob.is_snapshot:
            shown["clones"] = [child.name for child in self.store.children(blob)]
        if blob.external is not None:
            shown["external_snapshot_name"] = blob.external
        return {"lvol": shown}

    async def read(self, offset: int, length: int) -> bytes:
        return b"".join(
            [await self._read(self.blob, *part) for part in self._parts(offset, length)]
        )

    async def write(self, offset: int, data: bytes) -> None:
        if self.blob.is_read_only:
            raise OSError(30, "read-only")
        for index, start, length in self._parts(offset, len(data)):
            await self._own(index)
            place = self.store.place(self.blob, index) + start
            self.store.device.write(place, data[:length])
            data = data[length:]

    async def zero(self, offset: int, length: int) -> None:
        if self.blob.is_read_only:
            raise OSError(30, "read-only")
        for index, start, part in self._parts(offset, length):
            await self._own(index)
            self.store.device.zero(self.store.place(self.blob, index) + start, part)

    async def unmap(self, offset: int, length: int) -> None:
        """Free each whole cluster of a thin lvol without a snapshot below it. It is not cleared,
        whatever the clear method is. A thick lvol that had a snapshot counts as thin.
        """
        if self.blob.is_read_only:
            raise OSError(30, "read-only")
        is_freed = self.blob.is_thin and not self.blob.parent and not self.blob.external
        for index, start, part in self._parts(offset, length):
            if index not in self.blob.clusters:
                continue
            self.store.device.unmap(self.store.place(self.blob, index) + start, part)
            if is_freed and part == self.store.cluster_size:
                self.store.free(self.blob, index)
        self.store.save()

    def is_hole(self, index: int) -> bool:
        """Whether the lvol's own cluster is certain to read as zeros."""
        place = self.store.place(self.blob, index)
        return self.store.device.is_hole(place, self.store.cluster_size)

    async def fill(self, index: int, source: Blob) -> None:
        """Allocate a cluster with the content of the source and of the lvols below it.

        :raises Refused: there is no space.
        """
        size = self.store.cluster_size
        data = await self._read(source, index, 0, size)
        self.store.allocate(self.blob, [index])
        place = self.store.place(self.blob, index)
        if data == bytes(size):
            self.store.device.zero(place, size)
        else:
            self.store.device.write(place, data)
        self._registry.copied()

    async def _own(self, index: int) -> None:
        """Allocate a whole cluster for a first write. If nothing is below, old data stays in it."""
        if index in self.blob.clusters:
            return
        if self._layer(self.blob, index) is None and self._external(self.blob) is None:
            self.store.allocate(self.blob, [index])
        else:
            await self.fill(index, self.blob)
        self.store.save()

    def _layer(self, blob: Blob | None, index: int) -> Blob | None:
        while blob is not None and index not in blob.clusters:
            blob = self.store.parent(blob)
        return blob

    async def _read(self, blob: Blob, index: int, start: int, length: int) -> bytes:
        layer = self._layer(blob, index)
        if layer is not None:
            return self.store.device.read(self.store.place(layer, index) + start, length)
        external = self._external(blob)
        if external is None:
            return bytes(length)
        offset = index * self.store.cluster_size + start
        there = max(0, min(length, external.size - offset))
        data = await external.read(offset, there) if there else b""
        return data.ljust(length, b"\0")

    def _external(self, blob: Blob | None) -> Bdev | None:
        while blob is not None:
            if blob.external is not None:
                return self._registry.find(blob.external)
            blob = self.store.parent(blob)
        return None

    def _parts(self, offset: int, length: int) -> list[tuple[int, int, int]]:
        """Yield the cluster, the start in it, and the length of each part of the range."""
        if offset + length > self.size:
            raise OSError(28, "beyond the end")
        parts, size = [], self.store.cluster_size
        while length > 0:
            index, start = divmod(offset, size)
            part = min(length, size - start)
            parts.append((index, start, part))
            offset, length = offset + part, length - part
        return parts


def lvol(bdev: Bdev) -> Lvol:
    """Return the bdev as an lvol.

    :raises Refused: it is not an lvol.
    """
    if not isinstance(bdev, Lvol):
        raise no_device()
    return bdev
