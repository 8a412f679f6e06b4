"""What the pool's tasks do; importing this registers them (:mod:`tasks.saga`)."""

from inventory.sagas import inventory, license  # noqa: A004

__all__ = ["inventory", "license"]
