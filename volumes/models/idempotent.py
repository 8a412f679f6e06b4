from django.db import models


class IdempotentMixin(models.Model):
    """What a request made. ``idempotency_digest`` is the request's, or empty: it tells its
    repeats.
    """

    idempotency_digest = models.CharField(max_length=64, blank=True, default="", db_default="")

    class Meta:
        abstract = True

    def matches_request(self, idempotency_digest: str) -> bool:
        """Whether the request of that key made it; without a key no request is a repeat."""
        return bool(idempotency_digest) and self.idempotency_digest == idempotency_digest
