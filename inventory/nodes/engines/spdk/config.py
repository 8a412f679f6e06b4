"""The configuration of the engine."""

from dataclasses import dataclass
from pathlib import Path

from inventory.nodes.wire import Portal


@dataclass(frozen=True)
class SsdConfig:
    """An SSD: either ``bdev``, its name in the SPDK target, or ``file``, an existing file over
    which the engine creates an aio bdev with blocks of ``block_size`` bytes.

    ``zeroes_on_unmap``: unmapped blocks are certain to read as zeros. Otherwise deleted volumes are
    overwritten with zeros, and no host of the node can discard blocks. ``format``: the first
    lvstore may be created over existing content.
    """

    id: str
    name: str
    bdev: str | None = None
    file: Path | None = None
    block_size: int = 4096
    zeroes_on_unmap: bool = False
    format: bool = False


@dataclass(frozen=True)
class SpdkConfig:
    """The configuration of the engine. ``total_bw``: bytes per second. ``state_folder``: the folder
    where the engine keeps its state across restarts.
    """

    ssds: tuple[SsdConfig, ...]
    portals: tuple[Portal, ...]
    total_bw: int
    total_iops: int
    state_folder: Path
    socket: Path

    @property
    def discards(self) -> bool:
        """Whether hosts may discard blocks. SPDK unmaps discarded blocks on every SSD, so all SSDs
        must read as zeros after that.
        """
        return all(ssd.zeroes_on_unmap for ssd in self.ssds)
