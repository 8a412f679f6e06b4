"""Tenants and their budgets."""

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

DEFAULT_TENANT = "0"


class Tenant(models.Model):
    """The owner of volumes and snapshots, with a budget.

    ``capacity_bytes``: a hard budget; 0 means unlimited. The budgets of IOPS and bandwidth (bytes
    per second) are soft: the sum over the tenant's volumes is reported, but no request is refused
    because of it. ``follows_pool``: no budget was set yet, so clients see the pool's size, and no
    request is refused.
    """

    tenant_id = models.CharField(primary_key=True, max_length=64)
    name = models.CharField(max_length=255, unique=True)
    capacity_bytes = models.BigIntegerField(default=0)
    used_bytes = models.BigIntegerField(default=0)
    total_iops = models.BigIntegerField(default=0)
    total_bw = models.BigIntegerField(default=0)
    follows_pool = models.BooleanField(default=False)

    class Meta:
        ordering: ClassVar = ["tenant_id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(used_bytes__gte=0)
                & (Q(capacity_bytes=0) | Q(used_bytes__lte=F("capacity_bytes"))),
                name="tenant_used_within_budget",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.tenant_id})"
