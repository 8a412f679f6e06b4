"""What the engine must be told of its node."""

from dataclasses import dataclass
from pathlib import Path

from inventory.nodes.wire import Portal


@dataclass(frozen=True)
class SsdConfig:
    """``bdev``: its name in the target. Or ``file``, which is there, and of which the engine makes
    an aio bdev with blocks of ``block_size`` bytes.

    ``zeroes_on_unmap``: what was unmapped reads as zeros for certain; else volumes are overwritten
    with zeros when they are deleted, and no host of the node can discard blocks.
    ``format``: the first lvstore may be made over what is on it.
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
    """``total_bw`` in bytes per second. ``state_folder``: what the engine must know again after a
    restart.
    """

    ssds: tuple[SsdConfig, ...]
    portals: tuple[Portal, ...]
    total_bw: int
    total_iops: int
    state_folder: Path
    socket: Path

    @property
    def discards(self) -> bool:
        """Hosts may discard blocks: SPDK frees them by unmapping, on whatever SSD."""
        return all(ssd.zeroes_on_unmap for ssd in self.ssds)
