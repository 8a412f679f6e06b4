"""Celery functions of the pool."""

from celery import shared_task

from inventory import reconcilers
from inventory.services.backend_addresses import addresses_follow
from inventory.services.node_state import backend_refresh
from inventory.services.samples import inventory_update
from inventory.services.syslog_forwarding import syslog_send, syslog_send_all
from inventory.services.syslog_settings import syslogs_poll, syslogs_read


@shared_task
def poll_late_backends() -> None:
    reconcilers.poll_late_backends()


@shared_task
def update_inventory() -> None:
    inventory_update()


@shared_task
def refresh_backend(persistent_id: str) -> None:
    backend_refresh(persistent_id=persistent_id)


@shared_task
def follow_addresses(persistent_id: str, mgmt_ips: str, mgmt_port: int) -> None:
    """``mgmt_ips``: separated by spaces."""
    addresses_follow(persistent_id=persistent_id, mgmt_ips=mgmt_ips.split(), mgmt_port=mgmt_port)


@shared_task
def read_syslogs(persistent_id: str) -> None:
    syslogs_read(persistent_id=persistent_id)


@shared_task
def poll_syslogs() -> None:
    syslogs_poll()


@shared_task
def send_syslog_records(server_id: int) -> None:
    syslog_send(server_id=server_id)


@shared_task
def send_waiting_syslog_records() -> None:
    syslog_send_all()
