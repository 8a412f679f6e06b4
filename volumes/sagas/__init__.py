"""What the tasks of volumes do; importing this registers them (:mod:`tasks.saga`)."""

from volumes.sagas import attachment, remote_migration, replica_sync

__all__ = ["attachment", "remote_migration", "replica_sync"]
