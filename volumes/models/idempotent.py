"""Rows that remember the request that made them."""

from django.db import models


class IdempotentMixin(models.Model):
    """A row that a request made.

    ``idempotency_digest`` identifies the request, so that a retry of it is recognised. It is empty
    if the request had no key.
    """

    idempotency_digest = models.CharField(max_length=64, blank=True, default="", db_default="")

    class Meta:
        abstract = True

    def matches_request(self, idempotency_digest: str) -> bool:
        """Whether the request with this digest made the row. A request without a key
        matches nothing.
        """
        return bool(idempotency_digest) and self.idempotency_digest == idempotency_digest
