"""Celery jobs of the pool."""

from celery import shared_task

from inventory import reconcilers
from inventory.services.availability import availability_record
from inventory.services.node.addresses import addresses_follow
from inventory.services.node.certificate_ends import certificates_check
from inventory.services.node.state import backend_refresh
from inventory.services.pool.samples import inventory_update
from inventory.services.syslog.events import events_forward
from inventory.services.syslog.forwarding import syslog_send, syslog_send_all
from inventory.services.syslog.settings import syslogs_poll, syslogs_read


@shared_task
def poll_late_backends() -> None:
    """Read late nodes (:mod:`inventory.reconcilers`), and record which nodes and hosts became
    Unavailable or Available.
    """
    try:
        reconcilers.poll_late_backends()
    finally:
        availability_record()


@shared_task
def update_inventory() -> None:
    """Take the periodic sample of the pool."""
    inventory_update()


@shared_task
def refresh_backend(persistent_id: str) -> None:
    """Read a node, because its probe reported a change."""
    backend_refresh(persistent_id=persistent_id)


@shared_task
def follow_addresses(persistent_id: str, mgmt_ips: str, mgmt_port: int) -> None:
    """Look for a node at the addresses that it reports. ``mgmt_ips``: separated by spaces."""
    addresses_follow(persistent_id=persistent_id, mgmt_ips=mgmt_ips.split(), mgmt_port=mgmt_port)


@shared_task
def read_syslogs(persistent_id: str) -> None:
    """Read the syslog settings of a node."""
    syslogs_read(persistent_id=persistent_id)


@shared_task
def poll_syslogs() -> None:
    """Read the syslog settings of nodes that were not read yet."""
    syslogs_poll()


@shared_task
def check_certificates() -> None:
    """Read the expiry of the certificates of nodes and API."""
    certificates_check()


@shared_task
def send_syslog_records(server_id: int) -> None:
    """Send the records that wait for a syslog server."""
    syslog_send(server_id=server_id)


@shared_task
def forward_events() -> None:
    """Forward new events to the syslog servers, if EVENT_SYSLOG is set."""
    events_forward()


@shared_task
def send_waiting_syslog_records() -> None:
    """Start a sending job for each server that has waiting records."""
    syslog_send_all()
