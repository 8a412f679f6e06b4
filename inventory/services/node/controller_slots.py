"""Assigns NVMe controller ids to nodes.

A Linux host treats all controllers with the same target NQN as one subsystem, even on different
nodes, and refuses two controllers with the same id. Ids go up to 65,519, so slots of 64 ids are
enough for 1,023 nodes. The first slot starts at 64, because targets that were created before nodes
had slots count from 1, and stay below 64 while their hosts are connected.
"""

from django.db import transaction

from inventory.models import Backend, License, ReleasedSlot
from inventory.nodes.target_ids import LAST_CONTROLLER_ID, ControllerIds
from inventory.services.node.checks import NodeNotAvailable
from provisioner.common import clock

SLOT_IDS = 64
SLOTS = LAST_CONTROLLER_ID // SLOT_IDS


def controller_ids(backend: Backend) -> ControllerIds | None:
    """Return the ids in the slot of the node. The last slot is smaller. None: the node has no slot
    yet.
    """
    if backend.controller_slot is None:
        return None
    first = backend.controller_slot * SLOT_IDS
    return ControllerIds(first=first, last=min(first + SLOT_IDS - 1, LAST_CONTROLLER_ID))


def slot_ensure(backend: Backend) -> None:
    """Give a slot to a node that was added by an older version and has none.

    :raises NodeNotAvailable: no slot is left.
    """
    if backend.controller_slot is not None:
        return
    with transaction.atomic(durable=True):
        list(License.objects.select_for_update())
        rows = Backend.objects.filter(pk=backend.pk, controller_slot=None)
        if rows.exists():
            rows.update(controller_slot=slot_take(backend.pk))
    backend.refresh_from_db(fields=["controller_slot"])


def slot_take(persistent_id: str) -> int:
    """Return the slot for a node that is being added: its former slot, else the lowest slot that
    was never used, else the slot that was released longest ago. Runs in the transaction that locks
    the licence.

    :raises NodeNotAvailable: no slot is left.
    """
    released = dict(ReleasedSlot.objects.values_list("persistent_id", "controller_slot"))
    if persistent_id not in released:
        used = set(Backend.objects.values_list("controller_slot", flat=True))
        used.update(released.values())
        unused = next((slot for slot in range(1, SLOTS + 1) if slot not in used), None)
        if unused is not None:
            return unused
    oldest = next(iter(released), None)
    owner = persistent_id if persistent_id in released else oldest
    if owner is None:
        raise NodeNotAvailable(
            f"storage node {persistent_id!r} cannot be added: the pool has {SLOTS} nodes, and no "
            "NVMe controller ids are left for another node: remove a node first"
        )
    ReleasedSlot.objects.filter(pk=owner).delete()
    return released[owner]


def slot_release(backend: Backend) -> None:
    """Remember the slot of a node that is being removed. Runs in the caller's transaction."""
    if backend.controller_slot is None:
        return
    ReleasedSlot.objects.update_or_create(
        persistent_id=backend.persistent_id,
        defaults={"controller_slot": backend.controller_slot, "released_at": clock.now()},
    )
