"""The rows of orphans that operators adopt or discard."""

from django.db.models import QuerySet

from provisioner.common.results import ProvisionerError, ResultCode
from volumes.models import Export, Orphan, OrphanKind, Replica, Snapshot


class OrphanNotFound(ProvisionerError):
    """There is no such orphan, or its node no longer holds it."""

    code = ResultCode.NotExists


class OrphanIsKnown(ProvisionerError):
    """The object has a row now, so it is no orphan any more."""

    code = ResultCode.NotAvailable


def orphan_get(orphan_id: int) -> Orphan:
    """Return the orphan with this id.

    :raises OrphanNotFound: there is none.
    """
    orphan = Orphan.objects.select_related("backend").filter(pk=orphan_id).first()
    if orphan is None:
        raise OrphanNotFound(f"there is no orphan {orphan_id}")
    return orphan


def orphan_lock(same: QuerySet[Orphan], orphan: Orphan) -> list[Orphan]:
    """Lock the rows of the orphan and of ``same``, and return them.

    :raises OrphanNotFound: the orphan was adopted or discarded meanwhile.
    """
    rows = (same | Orphan.objects.filter(pk=orphan.pk)).select_related("backend")
    locked = list(rows.select_for_update(of=("self",)).order_by("pk"))
    if orphan not in locked:
        raise OrphanNotFound(f"there is no orphan {orphan.pk}")
    return locked


def orphan_row_text(orphan: Orphan) -> str:
    """Describe the row that the object has now. Returns "" if it has none.

    A row with the same uuid but another generation is another object.
    """
    if orphan.kind == OrphanKind.SNAPSHOT:
        taken = Snapshot.objects.filter(pk=orphan.generation, uuid=orphan.uuid).first()
        return f"it is snapshot {taken.uuid!r} now" if taken else ""
    rows = Replica.objects.filter(pk=orphan.generation, uuid=orphan.uuid)
    if orphan.kind == OrphanKind.NAMESPACE:
        exports = Export.objects.filter(target_nqn=orphan.target_nqn)
        rows = Replica.objects.filter(uuid=orphan.uuid, pk__in=exports.values("replica"))
    replica = rows.select_related("volume").first()
    what = "an export" if orphan.kind == OrphanKind.NAMESPACE else "a replica"
    return f"it is {what} of volume {replica.volume.uuid!r} now" if replica else ""
