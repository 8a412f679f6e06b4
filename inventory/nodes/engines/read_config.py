"""Reads the configuration file of a node, whichever engine it names."""

import tomllib
from collections.abc import Collection
from pathlib import Path

from inventory.nodes.engines.linux import node_config as linux
from inventory.nodes.engines.node_config import NodeConfig, WrongConfig
from inventory.nodes.engines.spdk import node_config as spdk

READERS = {"spdk": spdk.read_config, "linux": linux.read_config}
DEFAULT = "spdk"


def read_config(path: Path, *, to_format: Collection[str] = ()) -> NodeConfig:
    """Read and check the file. ``to_format``: ids of the SSDs whose content may be overwritten.

    :raises WrongConfig: the file cannot be read or breaks a rule.
    """
    try:
        engine = tomllib.loads(path.read_text()).get("engine", DEFAULT)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise WrongConfig(f"{path}: {error}") from None
    if engine not in READERS:
        raise WrongConfig(f"{path}: engine is {engine!r}: must be one of {', '.join(READERS)}")
    return READERS[engine](path, to_format=to_format)
