"""Sagas that only the tests of the runner use."""

from contextlib import contextmanager

from tasks import saga
from tasks.models import Task, TaskType
from tasks.saga import Saga
from tasks.services import task_create

KIND = TaskType.REPLICA_SYNC


@contextmanager
def registered(*steps, kind=KIND, **fields):
    before = saga.saga_of(Task(type=kind))
    saga.register(Saga(kind, tuple(steps), **fields))
    try:
        yield
    finally:
        saga._sagas.pop(kind)
        if before:
            saga.register(before)


def submitted(**fields):
    return task_create(type=KIND, **fields).pk


def row(task_id):
    return Task.objects.get(pk=task_id)


def nothing(context):
    return None
