"""The lease of a task, and the message that has it worked off."""

from provisioner.common.queue import enqueue_on_commit

PENDING_REASON = "waits_for"
"""The output in which a waiting task says for what."""


LEASE_SECONDS = 30
WAITING = "waiting"
"""Lease owner of a task that goes on when its lease is over, or when it is woken."""


def task_submit(task_id: str, *, delay_seconds: float = 0.0) -> None:
    """Have it worked off; a message too many does nothing."""
    enqueue_on_commit("tasks.jobs.run_task", task_id, delay_seconds=delay_seconds)
