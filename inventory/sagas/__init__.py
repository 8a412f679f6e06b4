"""The sagas of the pool's tasks. Importing this package registers them (:mod:`tasks.saga`)."""

from inventory.sagas import inventory, license  # noqa: A004

__all__ = ["inventory", "license"]
