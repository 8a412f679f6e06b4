"""Whether a node or host counts as Available."""

from django.db import models

LATE_FACTOR = 3
"""After this number of intervals without a heartbeat a backend or host is Unavailable."""


class Liveness(models.TextChoices):
    """The state of a backend or host, as clients see it."""

    AVAILABLE = "Available"
    UNAVAILABLE = "Unavailable"
