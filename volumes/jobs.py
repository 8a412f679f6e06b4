"""Celery functions."""

from celery import shared_task

from volumes.reconcilers import garbage_collector, relocation
from volumes.reconcilers.node_check.check import nodes_check
from volumes.reconcilers.recovery.failover import failover_settle


@shared_task
def collect() -> None:
    garbage_collector.collect()


@shared_task
def check_nodes() -> None:
    nodes_check()


@shared_task
def move_replicas() -> None:
    relocation.relocate_replicas()


@shared_task
def settle_failover() -> None:
    failover_settle()
