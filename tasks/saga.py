"""Sagas: long operations, defined as a short table of repeatable steps (architecture, section 7).

An app registers its sagas in ``<app>/sagas``, which are imported at the start of a process. The
runner finds them here by the type of the task.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tasks.context import Context, Outputs, Reschedule
from tasks.models import Task


@dataclass(frozen=True)
class Step:
    """A step of a saga.

    ``run`` calls nodes, or writes in one ``Context.transaction``. It may run twice, and may run
    again after a crash at any line.

    ``undo`` runs in the transaction that ends a task as FAILED or ABORTED, for each started step,
    in reverse order. It only stores the intent (``DELETING``) in the database, and also works if
    there is nothing to undo. The collector removes the objects from nodes.
    """

    run: Callable[[Context], Outputs | Reschedule | None]
    weight: float = 1.0
    undo: Callable[[Task], None] | None = None


def _nothing(task: Task) -> None:
    return None


def _never(task: Task) -> bool:
    return False


def _no_check(context: "Context") -> Reschedule | None:
    return None


@dataclass(frozen=True)
class Saga:
    """The steps of one type of task.

    The last step is the point of no return. It runs inside the transaction that makes the task
    FINISHED, so it only writes, never waits, and needs no undo. ``lock_first`` locks the rows that
    come before the row of the task in the order of locks, such as the volume. It is called wherever
    the task is locked. ``final_check`` asks nodes right before the last transaction, in each run
    that reaches it, because an earlier step may have asked them long ago, in a worker that died.
    ``is_hosts``: whether a host carries out this task. Then the steps only supervise the host.
    """

    type: str
    steps: tuple[Step, ...]
    lock_first: Callable[[Task], None] = _nothing
    final_check: Callable[[Context], Reschedule | None] = _no_check
    is_hosts: Callable[[Task], bool] = _never

    def percent(self, steps_done: int, fraction: float = 0.0) -> float:
        """Return the progress in percent after ``steps_done`` steps and ``fraction`` (0 to 1) of
        the next step.
        """
        weights = [step.weight for step in self.steps]
        current = sum(weights[steps_done : steps_done + 1]) * fraction
        return 100 * (sum(weights[:steps_done]) + current) / sum(weights)


_sagas: dict[str, Saga] = {}


def register(saga: Saga) -> None:
    _sagas[saga.type] = saga


def saga_of(task: Task) -> Saga | None:
    """Return the saga of the task. None: workers do not run tasks of this type."""
    return _sagas.get(task.type)


def saga_types() -> list[str]:
    return sorted(_sagas)


def lock_first(task: Task) -> None:
    """Lock the rows that come before the row of the task. Call this in the transaction that locks
    the task.
    """
    if saga := saga_of(task):
        saga.lock_first(task)


def undo(task: Task) -> None:
    """Undo the steps that ``task`` has begun. ``task`` must have been read while it was locked."""
    saga = saga_of(task)
    begun = saga.steps[: task.steps_done + 1] if saga else ()
    for step in reversed(begun):
        if step.undo:
            step.undo(task)
