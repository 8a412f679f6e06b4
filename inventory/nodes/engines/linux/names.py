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
    """Return the name of the volume group of an SSD."""
    return _name(VG_PREFIX, ssd_id)


def volume_name(uuid: str) -> str:
    """Return the name of the logical volumes of a volume."""
    return _name("v", uuid)


def snapshot_name(uuid: str) -> str:
    """Return the name of the logical volumes of a snapshot."""
    return _name("s", uuid)


def mapped_name(vg: str, lv: str) -> str:
    """Return the name of a logical volume in the device mapper."""
    return f"{_escaped(vg)}-{_escaped(lv)}"


def split_mapped(name: str) -> tuple[str, str] | None:
    """Return the volume group and the logical volume of a name in the device mapper. None: the
    device is not of LVM.
    """
    found = MAPPED.fullmatch(name)
    return (_plain(found[1]), _plain(found[2])) if found else None


def front_name(vg: str, lv: str) -> str:
    """Return the name of the device over the logical volumes of a volume. ``vg``, ``lv``: the first
    of them.
    """
    return f"{vg}+{lv}"


def _name(kind: str, what: str) -> str:
    """Return a name that LVM accepts. If the plain name is not allowed, a digest with the mark
    ``h-`` replaces it.
    """
    name = f"{kind}-{what}"
    is_fine = PLAIN.fullmatch(what) and len(_escaped(name)) <= LONGEST
    return name if is_fine else f"{kind}h-{digest(what)[:32]}"


def _plain(name: str) -> str:
    return name.replace("--", "-")


def _escaped(name: str) -> str:
    return name.replace("-", "--")
