from typing import ClassVar

from django.db import models
from django.db.models import F, Q

DEFAULT_TENANT = "0"


class Tenant(models.Model):
    """Whose volumes they are, and how much they may take.

    ``capacity_bytes`` is a hard budget, 0 = unlimited. IOPS and bandwidth budgets are soft: what
    is used of them is the sum over the tenant's volumes, reported and never refused.
    ``follows_pool``: nobody set a budget yet; the pool's own size is shown and nothing is refused
    here.
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
