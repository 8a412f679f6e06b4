"""Names of objects in LVM and the device mapper. After a crash, everything is found by name.

================  ==========================================================================
``provisioner-``  a volume group, by the id of its SSD
``pool``          its thin pool
``v-``            a volume: its thin logical volume on each of its SSDs
``s-``            a snapshot: its thin logical volume on each of its SSDs
``VG+LV``         the device over a volume's logical volumes, by the first of them
================  ==========================================================================
"""

import re

from inventory.nodes.engines.names import digest

POOL = "pool"
VG_PREFIX = "provisioner"
LONGEST = 60
"""Characters of a name in the device mapper, where a hyphen counts twice. The device mapper allows
127 for a volume group and a logical volume together.
"""
PLAIN = re.compile(r"[A-Za-z0-9.-]+")
"""LVM allows more, but reserves names with some underscores."""
MAPPER = "/dev/mapper/"
MAPPED = re.compile(r"((?:[^-]|--)+)-((?:[^-]|--)+)")


def vg_name(ssd_id: str) -> str:
    """The name of an SSD's volume group."""
    return _name(VG_PREFIX, ssd_id)


def volume_name(uuid: str) -> str:
    """The name of a volume's logical volumes."""
    return _name("v", uuid)


def snapshot_name(uuid: str) -> str:
    """The name of a snapshot's logical volumes."""
    return _name("s", uuid)


def mapped_name(vg: str, lv: str) -> str:
    """The name of a logical volume in the device mapper."""
    return f"{_escaped(vg)}-{_escaped(lv)}"


def split_mapped(name: str) -> tuple[str, str] | None:
    """Volume group and logical volume of a name in the device mapper; None: it is not of LVM."""
    found = MAPPED.fullmatch(name)
    return (_plain(found[1]), _plain(found[2])) if found else None


def front_name(vg: str, lv: str) -> str:
    """The name of the device over a volume's logical volumes. ``vg``, ``lv``: the first of them."""
    return f"{vg}+{lv}"


def _name(kind: str, what: str) -> str:
    """A name that LVM accepts. A digest with the mark ``h-`` replaces one that it would not."""
    name = f"{kind}-{what}"
    is_fine = PLAIN.fullmatch(what) and len(_escaped(name)) <= LONGEST
    return name if is_fine else f"{kind}h-{digest(what)[:32]}"


def _plain(name: str) -> str:
    return name.replace("--", "-")


def _escaped(name: str) -> str:
    return name.replace("-", "--")
