from django.db import models

LATE_FACTOR = 3
"""How many intervals without a sign of life make a backend or a host Unavailable."""


class Liveness(models.TextChoices):
    """The state of a backend or a host on the wire."""

    AVAILABLE = "Available"
    UNAVAILABLE = "Unavailable"
