"""Forwards events to the syslog servers of the pool, if EVENT_SYSLOG is set.

A job reads the events after the last forwarded one. If it dies, or no server accepts a record, the
next run continues there. So an event may be forwarded twice, but none is skipped while it is kept.
"""

import socket

from django.conf import settings

from events.kinds import Severity
from events.models import Event
from events.selectors import EventFilter, events_page, newest_number
from inventory.models import SyslogSource
from inventory.services.syslog.forwarding import SyslogNotAvailable, syslog_forward
from inventory.syslog.record import Level, LoggingType, Record

OFF = "off"
AT_MOST = 500
"""The number of events of one run."""
LONGEST = 1000
APP_NAME = "provisioner"
LEVELS = {
    Severity.INFO: Level.INFO,
    Severity.WARNING: Level.WARN,
    Severity.ERROR: Level.ERROR,
    Severity.CRITICAL: Level.FATAL,
}


def events_forward() -> None:
    """Store a record for the syslog servers for each event that was not forwarded yet. The first
    run after the setting was switched on begins with the events that follow.
    """
    least: str = settings.ENVIRONMENT.event_syslog
    sources = SyslogSource.objects.all()
    if least == OFF:
        sources.filter(forwarded_event__isnull=False).update(forwarded_event=None)
        return
    source, _ = SyslogSource.objects.get_or_create()
    newest, after = newest_number(), source.forwarded_event
    if after is None:
        sources.update(forwarded_event=newest)
        return
    wanted = EventFilter(severity=Severity[least.upper()])
    page = events_page(wanted, marker=after, limit=AT_MOST)
    for event in page:
        try:
            syslog_forward(record=event_record(event), is_kept=True)
        except SyslogNotAvailable:
            return
        sources.update(forwarded_event=event.number)
    if len(page) < AT_MOST:
        sources.filter(forwarded_event__lt=newest).update(forwarded_event=newest)


def event_record(event: Event) -> Record:
    """Return the event as a syslog record."""
    facts = {
        "number": str(event.number),
        "kind": event.kind,
        "actor": event.actor,
        "requestId": event.request_id,
        "tenantId": event.tenant_id,
        "objects": " ".join(event.subjects)[:LONGEST],
    }
    return Record(
        at=event.at,
        logging_type=LoggingType.EVENT,
        level=LEVELS[Severity(event.severity)],
        host=socket.gethostname(),
        app_name=APP_NAME,
        message=event.text,
        parameters=[(name, value) for name, value in facts.items() if value],
    )
