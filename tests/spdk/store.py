"""An lvstore on a device: clusters, blobs, and the state that survives the process.

Its description is written to the head of the device after each change. Clusters keep the data that
was last written to them until something clears them.
"""

import asyncio
import heapq
import json
import uuid as uuids
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.spdk.device import Device
from tests.spdk.rpc import no_space

MAGIC = b"SPDKFAKE"
PAGE = 4096
CLUSTER = 4 * 2**20


@dataclass
class Blob:
    """``clusters``: its own clusters, by index in the blob."""

    uuid: str
    name: str
    size: int
    is_thin: bool
    clear_method: str
    parent: str | None = None
    external: str | None = None
    is_snapshot: bool = False
    is_read_only: bool = False
    clusters: dict[int, int] = field(default_factory=dict)


class Store:
    """``going``: names of blobs being deleted. ``busy``: UUIDs of blobs being read for a copy.
    ``lost``: UUIDs of blobs deleted while busy, which are not listed before the next start.
    ``closed``: is set when the lvstore is closed.
    """

    def __init__(self, device: Device, uuid: str, name: str, cluster_size: int) -> None:
        self.device = device
        self.uuid = uuid
        self.name = name
        self.cluster_size = cluster_size
        self.blobs: dict[str, Blob] = {}
        self.going: set[str] = set()
        self.busy: set[str] = set()
        self.lost: set[str] = set()
        self.closed = asyncio.Event()
        self._size = device.size
        # a page of metadata for each cluster, and a few more
        self._reserved = -(-(self._size // cluster_size + 4) * PAGE // cluster_size)
        self._free: list[int] = []
        self._count_free()

    @classmethod
    def make(cls, device: Device, name: str, cluster_size: int, clear_method: str) -> "Store":
        if clear_method == "unmap":
            device.unmap(0, device.size)
        elif clear_method == "write_zeroes":
            device.zero(0, device.size)
        store = cls(device, str(uuids.uuid4()), name, cluster_size)
        store.save()
        return store

    @classmethod
    def load(cls, device: Device) -> "Store | None":
        """The lvstore on the device, or None."""
        if device.read(0, len(MAGIC)) != MAGIC:
            return None
        length = int.from_bytes(device.read(len(MAGIC), 8), "big")
        found = json.loads(device.read(len(MAGIC) + 8, length))
        store = cls(device, found["uuid"], found["name"], found["cluster_size"])
        store._size, store._reserved = found["size"], found["reserved"]
        for values in found["blobs"]:
            clusters = {int(index): place for index, place in values.pop("clusters").items()}
            store.blobs[values["uuid"]] = Blob(**values, clusters=clusters)
        store._count_free()
        return store

    def save(self) -> None:
        text = json.dumps(
            {
                "uuid": self.uuid,
                "name": self.name,
                "cluster_size": self.cluster_size,
                "size": self._size,
                "reserved": self._reserved,
                "blobs": [vars(blob) for blob in self.blobs.values()],
            }
        ).encode()
        self.device.write(0, MAGIC + len(text).to_bytes(8, "big") + text)

    def wipe(self) -> None:
        """Delete the lvstore. Each blob is cleared by its own method."""
        for blob in self.blobs.values():
            self._clear(blob, blob.clusters.values())
        self.device.zero(0, PAGE)

    def grow(self) -> None:
        """Grow to the present size of the device."""
        self._size = self.device.size
        self._count_free()
        self.save()

    @property
    def total_clusters(self) -> int:
        return self._size // self.cluster_size - self._reserved

    @property
    def free_clusters(self) -> int:
        return len(self._free)

    def clusters_for(self, size: int) -> int:
        return -(-size // self.cluster_size)

    def add(self, blob: Blob) -> Blob:
        """Add a blob.

        :raises Refused: no space for a thick one.
        """
        if not blob.is_thin:
            self.allocate(blob, range(self.clusters_for(blob.size)))
        self.blobs[blob.uuid] = blob
        self.save()
        return blob

    def allocate(self, blob: Blob, indices: Iterable[int]) -> None:
        """Allocate clusters for the blob, without clearing them.

        :raises Refused: there are not so many free clusters.
        """
        missing = [index for index in indices if index not in blob.clusters]
        if len(missing) > len(self._free):
            raise no_space()
        for index in missing:
            blob.clusters[index] = heapq.heappop(self._free)

    def free(self, blob: Blob, index: int) -> None:
        """Free the cluster, without clearing it."""
        heapq.heappush(self._free, blob.clusters.pop(index))

    def resize(self, blob: Blob, size: int) -> None:
        """Resize the blob.

        :raises Refused: no space for a thick one.
        """
        count = self.clusters_for(size)
        if not blob.is_thin:
            self.allocate(blob, range(count))
        cut = [index for index in blob.clusters if index >= count]
        self._release(blob, [blob.clusters.pop(index) for index in cut])
        blob.size = count * self.cluster_size
        self.save()

    def forget(self, blob: Blob) -> list[int]:
        """Do the first half of a deletion. After it, a restart does not find the blob.

        The clusters of a snapshot go to its only child if the child does not have them. The other
        clusters stay allocated until ``release``.
        """
        for child in self.children(blob):
            for index in sorted(blob.clusters.keys() - child.clusters.keys()):
                if index < self.clusters_for(child.size):
                    child.clusters[index] = blob.clusters.pop(index)
            child.parent, child.external = blob.parent, blob.external
        del self.blobs[blob.uuid]
        self.going.add(blob.name)
        self.save()
        return list(blob.clusters.values())

    def release(self, blob: Blob, places: list[int]) -> None:
        """Do the second half of a deletion: clear the clusters and free them."""
        self._release(blob, places)
        self.going.discard(blob.name)

    def has(self, name: str) -> bool:
        """Whether the name is in use. It stays in use until the deletion is complete."""
        return name in self.going or any(blob.name == name for blob in self.blobs.values())

    def children(self, blob: Blob) -> list[Blob]:
        return [one for one in self.blobs.values() if one.parent == blob.uuid]

    def parent(self, blob: Blob) -> Blob | None:
        return self.blobs[blob.parent] if blob.parent else None

    def place(self, blob: Blob, index: int) -> int:
        return blob.clusters[index] * self.cluster_size

    def _release(self, blob: Blob, places: list[int]) -> None:
        self._clear(blob, places)
        for place in places:
            heapq.heappush(self._free, place)

    def _clear(self, blob: Blob, places: Iterable[int]) -> None:
        clear: Any = {"unmap": self.device.unmap, "write_zeroes": self.device.zero}.get(
            blob.clear_method
        )
        for place in places if clear else ():
            clear(place * self.cluster_size, self.cluster_size)

    def _count_free(self) -> None:
        taken = {place for blob in self.blobs.values() for place in blob.clusters.values()}
        every = range(self._reserved, self._size // self.cluster_size)
        self._free = [place for place in every if place not in taken]
