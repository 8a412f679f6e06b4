"""What the tasks of volumes do; importing this registers them (:mod:`tasks.saga`)."""

from volumes.sagas import remote_migration, replica_sync

__all__ = ["remote_migration", "replica_sync"]
