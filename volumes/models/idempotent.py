"""Rows that remember the request that created them."""

from django.db import models


class IdempotentMixin(models.Model):
    """A row that a request created.

    ``idempotency_digest`` identifies the request, so that a retry of it is recognised. It is empty
    if the request had no ``Idempotency-Key``.
    """

    idempotency_digest = models.CharField(max_length=64, blank=True, default="", db_default="")

    class Meta:
        abstract = True

    def matches_request(self, idempotency_digest: str) -> bool:
        """Whether the request with this digest created the row. An empty digest matches no row."""
        return bool(idempotency_digest) and self.idempotency_digest == idempotency_digest
