"""Publish volumes to hosts, and unpublish them (reference, "Connectivity")."""

from django.db import transaction
from django.db.models import QuerySet

from events.kinds import Kind
from inventory.models import Backend, Host
from inventory.selectors import host_list
from inventory.services.node.call_time import call_deadline
from provisioner.common import clock
from provisioner.common.models import LifeState
from provisioner.common.queue import enqueue_on_commit
from provisioner.common.results import ProvisionerError, ResultCode
from tasks.services import tasks_abort, tasks_touch
from volumes.models import Export, Protocol, Publication, Replica, Volume, target_nqn
from volumes.selectors import replicas_expanded_offline, volumes_visible
from volumes.services.copies import copies_outdate
from volumes.services.deadlines import unfinished_deadline
from volumes.services.errors import HostNotFound, VolumeNotFound, VolumeNotPublished
from volumes.services.publication.exports import (
    ExportWork,
    delete_exports_on_nodes,
    exports_make,
    mark_publications_deleting,
    publication_record,
    record_desired_exports,
)
from volumes.services.replica.remove import marked_replicas_remove

UNPUBLISHED = "the volume was unpublished"


class AlreadyPublished(ProvisionerError):
    """Every replica was already exported to the host."""

    code = ResultCode.AlreadyPublished


class VolumeNotInHost(ProvisionerError):
    """The volume is ``Local``, and its node does not run on that host."""

    code = ResultCode.VolumeNotInHost


class PublishFailed(ProvisionerError):
    """No replica could be exported. The request has no effect."""

    code = ResultCode.PublishFailed


class UnpublishFailed(ProvisionerError):
    """An Available node did not confirm the removal of an export. The collector tries again."""

    code = ResultCode.UnpublishFailed


def volume_publish(
    *, volume_uuid: str, host_id: str, tenant_id: str | None, idempotency_digest: str = ""
) -> None:
    """Export every replica of a volume to a host. Exports that a node lost are created again.

    Replicas on nodes that do not answer are skipped if another replica is exported. They are
    exported when their nodes are back. A replica that a copy rebuilds is exported when the copy can
    no longer write.

    :raises VolumeNotFound: there is no such volume, or the tenant may not see it.
    :raises HostNotFound: the host never probed, or belongs to another tenant than the volume.
    :raises AlreadyPublished: every replica was exported already, and not by an earlier attempt of
        the same request.
    :raises VolumeNotInHost: the volume is ``Local``, and its node does not run on that host.
    :raises PublishFailed: no replica could be exported, or a node is expanding the volume and can
        do so only while no host uses it. The request has no effect.
    """
    until = call_deadline()
    with transaction.atomic(durable=True):
        volume, host = _locked(volume_uuid, host_id, tenant_id)
        _refuse_while_expanded(volume)
        _stop_copies(volume)
        if volume.protocol == Protocol.LOCAL:
            _publish_local(volume, host, idempotency_digest)
            return
        publication = _wanted(volume, host, idempotency_digest)
    _shut_out_former_nqn(host, until=until)
    work = exports_make(_reachable_exports(publication), until=until)
    if not work.done:
        _publish_failed(publication, idempotency_digest, reason=work.text)
        return
    rows = Publication.objects.filter(pk=publication.pk, state=LifeState.CREATING)
    rows.update(state=LifeState.READY, deadline_at=None)
    if not Publication.objects.filter(pk=publication.pk, state=LifeState.READY).exists():
        raise PublishFailed("the volume was unpublished while it was being published")
    if not work.new:
        _require_repeat(publication, idempotency_digest)


def _locked(volume_uuid: str, host_id: str, tenant_id: str | None) -> tuple[Volume, Host]:
    """Return the locked volume and host. The order of locks is: volume, then host."""
    volume = volumes_visible(tenant_id).select_for_update().filter(uuid=volume_uuid).first()
    if volume is None:
        raise VolumeNotFound(f"there is no volume {volume_uuid!r}")
    visible = host_list(tenant_id=tenant_id)
    host = visible.select_for_update().filter(pk=host_id).first()
    if host is None:
        raise HostNotFound(f"there is no host {host_id!r}: it must send POST /host_probe first")
    if host.tenant_id not in {"", volume.tenant_id}:
        raise HostNotFound(f"host {host_id!r} may only use volumes of another tenant")
    return volume, host


def _refuse_while_expanded(volume: Volume) -> None:
    """Refuse to publish a volume during an expansion that its node can do only while no host uses
    the volume.

    :raises PublishFailed: such an expansion is in progress.
    """
    if volume.expanding_to_bytes and replicas_expanded_offline(volume).exists():
        raise PublishFailed(
            f"volume {volume.uuid!r} is being expanded, and spans SSDs of a node that expands such "
            "a volume only while it is unpublished: try again when the expansion is done"
        )


def _stop_copies(volume: Volume) -> None:
    """Stop copies of the volume, because the host may write to it from now on.

    The outgoing replica is exported. The task of a one-replica volume is aborted. Any other task
    continues, and the host rebuilds the new replica.
    """
    if volume.num_replicas == 1:
        tasks_abort(volume_id=volume.uuid, reason="the volume was published")
        return
    copies_outdate(volume)
    tasks_touch(volume_id=volume.uuid)


def _publish_local(volume: Volume, host: Host, idempotency_digest: str) -> None:
    _require_inside(volume, host.pk)
    publication, created = Publication.objects.get_or_create(
        volume=volume,
        host=host,
        defaults={"state": LifeState.READY, "idempotency_digest": idempotency_digest},
    )
    if created:
        publication_record(Kind.VOLUME_PUBLISHED, publication)
    else:
        _require_repeat(publication, idempotency_digest)


def _require_repeat(publication: Publication, idempotency_digest: str) -> None:
    if not publication.matches_request(idempotency_digest):
        raise AlreadyPublished(
            f"all replicas of volume {publication.volume.uuid!r} are already published to host "
            f"{publication.host_id!r}"
        )


def _require_inside(volume: Volume, host_id: str) -> None:
    inside = volume.replicas.filter(state=LifeState.READY, backend__host_id=host_id)
    if not inside.exists():
        raise VolumeNotInHost(
            f"volume {volume.uuid!r} is Local, and the node that holds it "
            f"does not run in host {host_id!r}"
        )


def _wanted(volume: Volume, host: Host, idempotency_digest: str) -> Publication:
    """Insert or update the publication, and record the exports that it needs."""
    deadline = unfinished_deadline()
    publication = Publication.objects.filter(volume=volume, host=host).first()
    if publication is None:
        publication = Publication.objects.create(
            volume=volume,
            host=host,
            idempotency_digest=idempotency_digest,
            deadline_at=deadline,
        )
        publication_record(Kind.VOLUME_PUBLISHED, publication)
    elif publication.state == LifeState.CREATING:
        publication.idempotency_digest = idempotency_digest or publication.idempotency_digest
        rows = Publication.objects.filter(pk=publication.pk)
        rows.update(idempotency_digest=publication.idempotency_digest, deadline_at=deadline)
    publication.volume, publication.host = volume, host
    record_desired_exports(publication)
    return publication


def _shut_out_former_nqn(host: Host, *, until: float) -> None:
    """Remove the exports that admit a former NQN of the host, from nodes that answer.

    No export to the host is created before all nodes have confirmed the removal.
    """
    former = Export.objects.filter(target_nqn=target_nqn(host.pk), state=LifeState.DELETING)
    delete_exports_on_nodes(
        former.filter(replica__backend__in=Backend.objects.available()).exclude(host_nqn=host.nqn),
        until=until,
    )


def _reachable_exports(publication: Publication) -> QuerySet[Export]:
    nodes = Backend.objects.available()
    return publication.exports.filter(replica__backend__in=nodes)


def _publish_failed(publication: Publication, idempotency_digest: str, *, reason: str) -> None:
    """Roll the publication back, unless another attempt of the same request completed it.

    :raises PublishFailed: it was rolled back.
    """
    rows = Publication.objects.filter(pk=publication.pk)
    with transaction.atomic(durable=True):
        list(Volume.objects.select_for_update().filter(pk=publication.volume_id))
        creating = rows.filter(state=LifeState.CREATING)
        mark_publications_deleting(creating, deadline_at=clock.now(), reason=reason)
    enqueue_on_commit("volumes.jobs.collect")
    if (
        publication.matches_request(idempotency_digest)
        and rows.filter(state=LifeState.READY).exists()
    ):
        return
    former = Export.objects.filter(target_nqn=target_nqn(publication.host_id))
    away = former.exclude(host_nqn=publication.host.nqn).values_list("replica__backend", flat=True)
    if away:
        nodes = ", ".join(sorted({str(node) for node in away}))
        reason = f"nodes {nodes} may still admit the former NQN of the host"
    raise PublishFailed(f"no replica could be exported: {reason or 'no node is Available'}")


def volume_unpublish(*, volume_uuid: str, host_id: str | None, tenant_id: str | None) -> None:
    """Unpublish a volume from a host, or from all hosts if ``host_id`` is None.

    A migration that the host carries out is aborted. If no other host has the volume, a replica
    that is marked for removal is removed without a confirmation. The collector removes the exports
    of an Unavailable node when it is back.

    :raises VolumeNotFound: there is no such volume, or the tenant may not see it.
    :raises HostNotFound: there is no such host.
    :raises VolumeNotPublished: the volume is not published to that host, or to any host.
    :raises VolumeNotInHost: the volume is ``Local``, and its node does not run on that host.
    :raises UnpublishFailed: an Available node did not confirm. The collector tries again.
    """
    with transaction.atomic(durable=True):
        volume = volumes_visible(tenant_id).select_for_update().filter(uuid=volume_uuid).first()
        if volume is None:
            raise VolumeNotFound(f"there is no volume {volume_uuid!r}")
        if host_id is not None:
            _require_host(volume, host_id, tenant_id)
        keys = _mark_deleting(volume, host_id)
        tasks_abort(volume_id=volume.uuid, reason=UNPUBLISHED, only_hosts=True)
        tasks_touch(volume_id=volume.uuid)
        marked_replicas_remove(volume)
    rows = Export.objects.filter(pk__in=keys, state=LifeState.DELETING)
    _require_confirmed(delete_exports_on_nodes(rows, until=call_deadline()))


def _require_host(volume: Volume, host_id: str, tenant_id: str | None) -> None:
    """:raises HostNotFound: there is no such host, or the tenant may not see it."""
    is_published = volume.publications.filter(host=host_id).exists()
    if not (is_published or host_list(tenant_id=tenant_id).filter(pk=host_id).exists()):
        raise HostNotFound(f"there is no host {host_id!r}")


def _mark_deleting(volume: Volume, host_id: str | None) -> list[int]:
    """Mark the exports as deleting. Returns their keys, and the keys of exports that an earlier
    call could not remove.
    """
    publications = Publication.objects.filter(volume=volume)
    left = Export.objects.filter(replica__volume=volume, state=LifeState.DELETING, for_copy=False)
    if host_id is not None:
        publications = publications.filter(host_id=host_id)
        left = left.filter(target_nqn=target_nqn(host_id))
    keys = list(left.values_list("pk", flat=True))
    if not keys and not publications.exists():
        if volume.protocol == Protocol.LOCAL and host_id is not None:
            _require_inside(volume, host_id)
        where = "any host" if host_id is None else f"host {host_id!r}"
        raise VolumeNotPublished(f"volume {volume.uuid!r} is not published to {where}")
    return keys + mark_publications_deleting(publications)


def _require_confirmed(work: ExportWork) -> None:
    if any(_is_up(export.replica) for export in work.failed):
        raise UnpublishFailed(f"not confirmed yet; the provisioner tries again: {work.text}")


def _is_up(replica: Replica) -> bool:
    return replica.backend is not None and replica.backend.is_available
