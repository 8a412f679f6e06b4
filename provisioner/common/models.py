"""Shared by the models of all apps."""

from django.db import models


class LifeState(models.TextChoices):
    """The life of a row (architecture, section 6); internal, not on the wire.

    ``CREATING``: claimed, being created on nodes. ``READY``: the nodes have confirmed it.
    ``DELETING``: to be removed from nodes; its capacity is returned when they have confirmed. The
    transitional states CREATING and DELETING have a deadline, after which the collector takes the
    row.
    """

    CREATING = "CREATING"
    READY = "READY"
    DELETING = "DELETING"
