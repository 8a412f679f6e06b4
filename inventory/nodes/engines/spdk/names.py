"""Names of objects in SPDK. After a crash, everything is found by name.

==========  =====================================================================================
``ssd-``    an lvstore, by the id of its SSD; the bdev under it, if that is a file
``v-``      a volume: each of its lvols, and the raid over them if there are several
``s-``      a snapshot: each of its lvols, also when they are shared
``x-``      a shared snapshot lvol: the common content of clones, or what a copy reads
``z-``      an lvol over free clusters that may not read as zeros; it will be deleted
``copy-``   the controller through which a copy is written
==========  =====================================================================================
"""

import uuid as uuids

from inventory.nodes.engines.names import digest

LONGEST = 63
SHARED = "x-"
UNCLEARED = "z-"
COPY = "copy-"


def ssd_name(ssd_id: str) -> str:
    """The name of an SSD's lvstore, and of its bdev if that is over a file."""
    return _name("ssd", ssd_id)


def volume_name(uuid: str) -> str:
    """The name of a volume's lvols, and of its raid."""
    return _name("v", uuid)


def snapshot_name(uuid: str) -> str:
    """Return a new unique name, because an earlier snapshot may have to stay, and SPDK cannot
    rename it.
    """
    return _name("s", f"{uuid}-{uuids.uuid4().hex[:8]}")


def shared_name() -> str:
    """Return a new unique name for a shared snapshot lvol."""
    return SHARED + uuids.uuid4().hex


def uncleared_name() -> str:
    """Return a new unique name for an lvol over clusters that are not cleared."""
    return UNCLEARED + uuids.uuid4().hex


def copy_name(uuid: str) -> str:
    """Return a new unique name, because the controller of an earlier attempt may still exist."""
    return f"{COPY}{digest(uuid)[:32]}-{uuids.uuid4().hex[:8]}"


def is_copy_of(name: str, uuid: str) -> bool:
    """Whether the controller is of a copy of that volume."""
    return name.startswith(COPY + digest(uuid)[:32])


def _name(kind: str, what: str) -> str:
    """A name that SPDK accepts. If it would be too long, a digest with the mark ``h-``
    replaces it.
    """
    name = f"{kind}-{what}"
    return name if len(name.encode()) <= LONGEST else f"{kind}h-{digest(what)[:48]}"
