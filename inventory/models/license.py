"""The installed licence."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from provisioner.common import clock


class LicenseType(models.TextChoices):
    """The types in the reference."""

    POC = "POC"
    PRODUCTION = "PRODUCTION"


class License(models.Model):
    """The installed licence: a single row. It is locked while a backend is added, and
    while the task that installs another licence is created.

    ``expires_at`` None: it never expires. ``max_backends`` None: no limit. If no licence is
    installed, ``encrypted_text`` is empty and there is no limit.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    type = models.CharField(
        max_length=16, choices=LicenseType.choices, default=LicenseType.PRODUCTION
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    max_backends = models.PositiveIntegerField(null=True, blank=True)
    encrypted_text = models.TextField(blank=True)

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=Q(id=1), name="one_license")]

    def __str__(self) -> str:
        return f"{self.type}, {self.max_backends or 'any number of'} backends"

    @property
    def is_expired(self) -> bool:
        """Whether the licence has expired."""
        return self.expires_at is not None and self.expires_at <= clock.now()
