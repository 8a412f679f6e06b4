"""The configuration of the engine."""

from dataclasses import dataclass
from pathlib import Path

from inventory.nodes.wire import Portal


@dataclass(frozen=True)
class SsdConfig:
    """An SSD: a whole block device or a partition. ``format``: the first volume group may be
    created over existing content.
    """

    id: str
    name: str
    device: str
    format: bool = False


@dataclass(frozen=True)
class LinuxConfig:
    """The configuration of the engine.

    ``node``: the persistent id of the node, which marks its targets. ``total_bw``: bytes per
    second. ``state_folder``: the folder where the engine keeps its state across restarts.
    """

    node: str
    ssds: tuple[SsdConfig, ...]
    portals: tuple[Portal, ...]
    total_bw: int
    total_iops: int
    state_folder: Path
