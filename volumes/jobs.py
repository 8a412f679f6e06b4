"""Celery jobs of volumes. ``provisioner/celery.py`` has their intervals."""

from celery import shared_task

from volumes.reconcilers import garbage_collector, relocation
from volumes.reconcilers.node_check.check import nodes_check
from volumes.reconcilers.recovery.failover import failover_settle


@shared_task
def collect() -> None:
    """Run the collector."""
    garbage_collector.collect()


@shared_task
def check_nodes() -> None:
    """Check nodes that are due."""
    nodes_check()


@shared_task
def move_replicas() -> None:
    """Start relocations."""
    relocation.relocate_replicas()


@shared_task
def settle_failover() -> None:
    """Settle a failover to a standby, if there was one."""
    failover_settle()
