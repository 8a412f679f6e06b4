"""Forwards records to syslog servers. A record is stored at once, and a job sends it until it
arrives.

There is one row for each record and server, so nothing is lost if a worker dies or a message is
lost (``decisions/0009``).
"""

import datetime as dt
import logging
from collections.abc import Sequence

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, Sum
from django.db.models.functions import Length

from inventory.metrics import DROPPED
from inventory.models import SyslogRecord, SyslogServer
from inventory.syslog.record import Record
from inventory.syslog.transport import LARGEST_RECORD, Destination, send
from provisioner.common import clock
from provisioner.common.queue import enqueue_on_commit
from provisioner.common.results import InvalidInput, ProvisionerError, ResultCode

log = logging.getLogger(__name__)

SEND_TOGETHER = 50
LEASE = dt.timedelta(seconds=90)
FIRST_PAUSE_SECONDS = 5
LONGEST_PAUSE_SECONDS = 300


class SyslogNotAvailable(ProvisionerError):
    """There is no syslog server that can take the record."""

    code = ResultCode.SyslogNotAvailable


def syslog_forward(*, record: Record, is_kept: bool = False) -> None:
    """Store a record for every usable server. It is sent soon, and retried for
    SYSLOG_RETRY_MINUTES.

    If too many records already wait for a server, it does not get the record, and this is counted.
    ``is_kept``: the caller keeps a record that no server can take, so it is not counted then.

    :raises SyslogNotAvailable: no server is in state true and usable, or too many records wait for
        each of them.
    :raises InvalidInput: the record is larger than some transport allows.
    """
    environment = settings.ENVIRONMENT
    content = record.encoded(
        facility=environment.syslog_facility,
        enterprise_number=environment.syslog_enterprise_number,
    )
    if len(content) > LARGEST_RECORD:
        rule = f"the record has {len(content)} bytes, the limit is {LARGEST_RECORD}"
        raise InvalidInput.of("message", record.message, rule)
    with transaction.atomic(durable=True):
        servers = _with_room(_usable_servers(), len(content), is_kept=is_kept)
        SyslogRecord.objects.bulk_create(
            SyslogRecord(server=server, content=content) for server in servers
        )
        for server in servers:
            enqueue_on_commit("inventory.jobs.send_syslog_records", server.pk)


def _usable_servers() -> list[SyslogServer]:
    """Return the usable servers. They are locked so that none is deleted before the record is
    stored.

    :raises SyslogNotAvailable: there is none.
    """
    connected = SyslogServer.objects.select_for_update(no_key=True).filter(state=True)
    problems, usable = [], []
    for server in connected.order_by("pk"):
        try:
            destination(server)
        except ValueError as error:
            problems.append(str(error))
        else:
            usable.append(server)
    if not usable:
        reason = "; ".join(problems) or "no syslog server is connected"
        raise SyslogNotAvailable(f"there is no syslog server to forward to: {reason}")
    return usable


def _with_room(servers: Sequence[SyslogServer], size: int, *, is_kept: bool) -> list[SyslogServer]:
    """Return the servers that may get another record of ``size`` bytes. The caller has locked them.

    :raises SyslogNotAvailable: there is none.
    """
    environment = settings.ENVIRONMENT
    waiting = SyslogRecord.objects.filter(server__in=servers).values("server").order_by("server")
    sums = waiting.annotate(records=Count("pk"), bytes=Sum(Length("content")))
    full = {
        row["server"]
        for row in sums
        if row["records"] >= environment.syslog_most_records
        or row["bytes"] + size > environment.syslog_most_bytes
    }
    room = [server for server in servers if server.pk not in full]
    if room or not is_kept:
        DROPPED.inc(len(full))
    if not room:
        raise SyslogNotAvailable(
            "too many records already wait for the syslog servers: try again later"
        )
    return room


def destination(server: SyslogServer) -> Destination:
    """Return the destination of records for the server.

    :raises ValueError: its url cannot be used.
    """
    return Destination.of(server.url, use_tls=server.use_tls, certificate=server.certificate)


def syslog_send_all() -> None:
    """Start a job for each server with waiting records, and delete records that waited too long."""
    retry_period = dt.timedelta(minutes=settings.ENVIRONMENT.syslog_retry_minutes)
    count, _ = SyslogRecord.objects.filter(created_at__lt=clock.now() - retry_period).delete()
    if count:
        DROPPED.inc(count)
        log.warning("syslog records dropped after waiting too long", extra={"records": count})
    due = SyslogServer.objects.filter(next_try_at__lte=clock.now(), records__isnull=False)
    for key in due.values_list("pk", flat=True).distinct():
        enqueue_on_commit("inventory.jobs.send_syslog_records", key)


def syslog_send(*, server_id: int) -> None:
    """Send the records that wait for a server, in order. Does nothing if another job sends them, or
    during a pause.

    After a failure, all unsent records wait for a pause, which doubles up to LONGEST_PAUSE_SECONDS.
    A record is deleted only after its connection ended without an error. So it may be sent twice,
    but over TCP and TLS it is not lost.
    """
    lease_until = clock.now() + LEASE
    rows = SyslogServer.objects.filter(pk=server_id)
    if not rows.filter(next_try_at__lte=clock.now()).update(next_try_at=lease_until):
        return
    held = rows.filter(next_try_at=lease_until)
    server = held.first()
    if server is None:
        return
    waiting = list(server.records.all()[:SEND_TOGETHER])
    if not _send(server, waiting):
        held.update(failures=F("failures") + 1, next_try_at=_end_of_pause(server.failures))
        return
    SyslogRecord.objects.filter(pk__in=[record.pk for record in waiting]).delete()
    held.update(failures=0, next_try_at=clock.now())
    if server.records.exists():
        enqueue_on_commit("inventory.jobs.send_syslog_records", server_id)


def _end_of_pause(failures: int) -> dt.datetime:
    seconds = min(FIRST_PAUSE_SECONDS * 2 ** min(failures, 10), LONGEST_PAUSE_SECONDS)
    return clock.now() + dt.timedelta(seconds=seconds)


def _send(server: SyslogServer, waiting: Sequence[SyslogRecord]) -> bool:
    """Send the records. Returns whether all of them were sent."""
    if not waiting:
        return True
    try:
        send(destination(server), [bytes(record.content) for record in waiting])
    except (OSError, ValueError) as error:
        extra = {"server": server.url, "records": len(waiting), "reason": str(error)}
        log.warning("the syslog server cannot be reached", extra=extra)
        return False
    return True
