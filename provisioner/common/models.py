"""Parts that the models of all apps share."""

from django.db import models


class LifeState(models.TextChoices):
    """The life of a row (architecture, section 6). It is internal and not sent to clients.

    ``CREATING``: claimed, and being created on nodes. ``READY``: the nodes have confirmed it.
    ``DELETING``: to be removed from nodes; its capacity is released when they have confirmed the
    removal. CREATING and DELETING have a deadline. After the deadline, the collector processes the
    row.
    """

    CREATING = "CREATING"
    READY = "READY"
    DELETING = "DELETING"
