"""What the models of all apps share."""

from django.db import models


class LifeState(models.TextChoices):
    """Where a row stands between intent and node (architecture, section 6); internal, not on the
    wire.

    ``CREATING``: claimed, being made on nodes. ``READY``: made. ``DELETING``: to be removed from
    nodes; its capacity comes back when they confirmed. A passing state has a deadline, after which
    the collector takes it up.
    """

    CREATING = "CREATING"
    READY = "READY"
    DELETING = "DELETING"
