"""Sagas of tasks of volumes. Importing this package registers them (:mod:`tasks.saga`)."""

from volumes.sagas import attachment, remote_migration
from volumes.sagas.replace_replica import steps

__all__ = ["attachment", "remote_migration", "steps"]
