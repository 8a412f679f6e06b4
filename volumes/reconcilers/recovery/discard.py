"""Operators discard orphans, which removes them from their nodes."""

from django.db import transaction

from events.kinds import Kind
from inventory.nodes.client import NodeRefused, NodeUnreachable
from inventory.services.node.call_time import call_deadline, seconds_left
from inventory.services.node.clients import node_client
from provisioner.common.results import ProvisionerError, ResultCode
from provisioner.common.writes import require_writes_now
from volumes.models import Orphan
from volumes.reconcilers.node_check.orphan_removal import orphan_removal
from volumes.reconcilers.node_check.orphans import orphan_record
from volumes.reconcilers.recovery.orphan_rows import (
    OrphanIsKnown,
    orphan_get,
    orphan_lock,
    orphan_row_text,
)


class CannotDiscard(ProvisionerError):
    """The orphan's node refuses to remove it, or does not answer."""

    code = ResultCode.NotAvailable


def orphan_discard(orphan_id: int) -> str:
    """Remove an orphan from its node permanently. Returns a sentence that describes the result.

    Its row is deleted before the node is called, so that nobody can adopt the orphan meanwhile.

    :raises WritesBarred: the database may be older than its nodes, and so may its list of orphans.
    :raises OrphanNotFound: there is no such orphan.
    :raises OrphanIsKnown: the object is a volume, a snapshot or an export now.
    :raises CannotDiscard: the node did not remove it, because it is exported or has snapshots, or
        the node does not answer.
    """
    require_writes_now()
    with transaction.atomic(durable=True):
        [orphan] = orphan_lock(Orphan.objects.none(), orphan_get(orphan_id))
        if about := orphan_row_text(orphan):
            raise OrphanIsKnown(f"{orphan} was not removed: {about}")
        Orphan.objects.filter(pk=orphan.pk).delete()
    remove = orphan_removal(node_client(orphan.backend), orphan, seconds_left(call_deadline()))
    try:
        remove()
    except (NodeRefused, NodeUnreachable) as error:
        Orphan.objects.bulk_create([orphan], ignore_conflicts=True)
        raise CannotDiscard(f"{orphan} was not removed: {error}") from error
    with transaction.atomic(durable=True):
        orphan_record(Kind.ORPHAN_REMOVED, orphan)
    return f"{orphan} was removed"
