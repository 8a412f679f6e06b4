"""Addresses where hosts connect."""

from typing import ClassVar

from django.db import models

from inventory.models.backend import Backend


class Portal(models.Model):
    """An address where a backend's NVMe-oF targets listen."""

    backend = models.ForeignKey(Backend, on_delete=models.CASCADE, related_name="portals")
    ip = models.CharField(max_length=255)
    port = models.PositiveIntegerField()
    transport = models.CharField(max_length=16)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["backend", "ip", "port", "transport"], name="portal_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.transport} {self.ip}:{self.port}"
