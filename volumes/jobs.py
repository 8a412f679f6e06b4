"""Celery functions."""

from celery import shared_task

from volumes import reconcilers
from volumes.services import moves
from volumes.services.node_checks import nodes_check
from volumes.services.recovery.failover import failover_settle


@shared_task
def collect() -> None:
    reconcilers.collect()


@shared_task
def check_nodes() -> None:
    nodes_check()


@shared_task
def move_replicas() -> None:
    moves.replicas_move()


@shared_task
def settle_failover() -> None:
    failover_settle()
