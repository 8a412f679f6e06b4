"""The commands of LVM. Each command sees the device of one SSD only. So a drive that hangs does not
block commands for other drives, and LVM never interprets data that hosts wrote into volumes.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from inventory.nodes.engines.linux.config import SsdConfig
from inventory.nodes.engines.linux.kernel import COMMAND_SECONDS, CommandFailed, Kernel, Stuck
from inventory.nodes.engines.linux.names import POOL

CONFIG = (
    'devices {{ filter=["a|^{device}$|","r|.*|"] scan_lvs=0 }}'
    " activation {{ monitoring=0 }} backup {{ backup=0 archive=0 }}"
)
METADATA_BYTES = 16 * 2**20
"""Space for the text in which LVM describes a volume group. It holds the text twice, and a thin
volume takes about 350 bytes: LVM's default of 1 MiB is full with 1,500 volumes and snapshots.
"""
ACTIVATE_SECONDS = 0.2
"""How much longer an activation may take for each volume. An emulated machine needed half of it."""
IN_USE = ("in use", "used by another device", "busy")
"""What LVM and dmsetup say of a device that a target, a front or another program has open."""


@dataclass(frozen=True)
class VolumeGroup:
    """A volume group. Sizes are in bytes."""

    name: str
    uuid: str
    extent_size: int
    free: int


@dataclass(frozen=True)
class LogicalVolume:
    """A logical volume. Sizes are in bytes. ``chunk_size`` and ``fails_when_full`` are set for thin
    pools only.
    """

    name: str
    size: int
    chunk_size: int
    fails_when_full: bool


class Lvm:
    """Runs commands that change objects by name. The caller reads the result back. ``on_stuck`` is
    called with the id of an SSD for which a command did not end.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.on_stuck: Callable[[str], None] = lambda ssd_id: None

    async def volume_group(self, ssd: SsdConfig) -> VolumeGroup | None:
        """The volume group on the SSD, or None.

        :raises CommandFailed, Stuck: it cannot be read.
        """
        rows = await self._report(ssd, "vgs", "vg_name,vg_uuid,vg_extent_size,vg_free", "vg")
        if not rows:
            return None
        row = rows[0]
        return VolumeGroup(
            row["vg_name"], row["vg_uuid"], int(row["vg_extent_size"]), int(row["vg_free"])
        )

    async def logical_volumes(self, ssd: SsdConfig, vg: str) -> dict[str, LogicalVolume]:
        """The logical volumes of the volume group, by name.

        :raises CommandFailed, Stuck: they cannot be read.
        """
        fields = "lv_name,lv_size,chunk_size,lv_when_full"
        rows = await self._report(ssd, "lvs", fields, "lv", vg)
        return {
            row["lv_name"]: LogicalVolume(
                row["lv_name"],
                int(row["lv_size"]),
                int(row["chunk_size"]),
                row["lv_when_full"] == "error",
            )
            for row in rows
        }

    async def create_volume_group(self, ssd: SsdConfig, vg: str) -> None:
        await self.run(
            *(ssd, "vgcreate", "--yes", "--setautoactivation", "n"),
            *("--metadatasize", f"{METADATA_BYTES}b", vg, ssd.device),
        )

    async def create_pool(
        self, ssd: SsdConfig, vg: VolumeGroup, *, chunk_size: int, metadata: int
    ) -> None:
        """Create a thin pool over all space of the volume group, except ``metadata`` bytes and the
        same number of bytes that a repair needs. New chunks are zeroed, so they never show old
        data.
        """
        reserve = -(-metadata // vg.extent_size) * vg.extent_size
        extents = (vg.free - 2 * reserve) // vg.extent_size
        await self.run(
            *(ssd, "lvcreate", "--yes", "--type", "thin-pool", "--name", POOL),
            *("--extents", str(extents), "--poolmetadatasize", f"{reserve}b"),
            *("--chunksize", f"{chunk_size}b", "--zero", "y", "--discards", "passdown"),
            *("--poolmetadataspare", "y", vg.name),
        )

    async def fail_when_full(self, ssd: SsdConfig, vg: str) -> None:
        """Let writes fail at once when the pool is full. Otherwise they would wait for a minute.
        LVM accepts this only for an existing pool, and only once.
        """
        await self.run(ssd, "lvchange", "--errorwhenfull", "y", f"{vg}/{POOL}")

    async def activate(self, ssd: SsdConfig, vg: str, volumes: int) -> None:
        """Activate everything in the volume group, which has so many logical volumes. The metadata
        of the pool is checked before that.
        """
        options = ("--activate", "y", "--ignoreactivationskip")
        seconds = COMMAND_SECONDS + ACTIVATE_SECONDS * volumes
        await self.run(ssd, "vgchange", *options, vg, seconds=seconds)

    async def create(self, ssd: SsdConfig, vg: str, lv: str, size: int) -> None:
        """Create a thin volume that reads as zeros."""
        await self.run(
            *(ssd, "lvcreate", "--yes", "--type", "thin", "--thinpool", POOL, "--name", lv),
            *("--virtualsize", f"{size}b", "--wipesignatures", "n", vg),
        )

    async def snapshot(self, ssd: SsdConfig, vg: str, source: str, lv: str) -> None:
        """Create a thin volume with the present content of another one."""
        await self.run(
            *(ssd, "lvcreate", "--yes", "--snapshot", "--setactivationskip", "n"),
            *("--activate", "y", "--name", lv, f"{vg}/{source}"),
        )

    async def extend(self, ssd: SsdConfig, vg: str, lv: str, size: int) -> None:
        await self.run(ssd, "lvextend", "--size", f"{size}b", f"{vg}/{lv}")

    async def remove(self, ssd: SsdConfig, vg: str, lv: str) -> None:
        await self.run(ssd, "lvremove", "--yes", f"{vg}/{lv}")

    async def run(
        self, ssd: SsdConfig, verb: str, *arguments: str, seconds: float = COMMAND_SECONDS
    ) -> str:
        """Run one command of LVM, and return its output.

        :raises CommandFailed: it failed, perhaps halfway.
        :raises Stuck: it did not end in time.
        """
        config = CONFIG.format(device=_pattern(ssd.device))
        command = ("lvm", verb, "--config", config, *arguments)
        try:
            output = await self._kernel.run(*command, seconds=seconds)
        except Stuck:
            self.on_stuck(ssd.id)
            raise
        if output.code:
            raise CommandFailed(command, output.code, output.err)
        return output.out

    async def _report(
        self, ssd: SsdConfig, verb: str, fields: str, kind: str, *arguments: str
    ) -> list[dict[str, Any]]:
        options = ("--reportformat", "json", "--units", "b", "--nosuffix", "--options", fields)
        shown = json.loads(await self.run(ssd, verb, *options, *arguments))
        return [row for report in shown["report"] for row in report.get(kind, ())]


def _pattern(device: str) -> str:
    """Return the device as a regular expression of LVM, which has only a few special characters."""
    return "".join(f"\\\\{one}" if one in ".+" else one for one in device)
