"""The lease of a task, and the message that makes a worker run it."""

from provisioner.common.queue import enqueue_on_commit

PENDING_REASON = "waits_for"
"""The key in ``outputs`` with the reason why a task waits."""


LEASE_SECONDS = 30
WAITING = "waiting"
"""Lease owner of a task that continues when its lease has expired, or when it is woken."""


def task_submit(task_id: str, *, delay_seconds: float = 0.0) -> None:
    """Make a worker run the task. If several messages arrive, only one of them has an effect."""
    enqueue_on_commit("tasks.jobs.run_task", task_id, delay_seconds=delay_seconds)
