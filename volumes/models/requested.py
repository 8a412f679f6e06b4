from django.db import models


class Requested(models.Model):
    """What a request made. ``request_key`` is the request's, or empty: it tells its repeats."""

    request_key = models.CharField(max_length=64, blank=True, default="", db_default="")

    class Meta:
        abstract = True

    def is_of(self, request_key: str) -> bool:
        """Whether the request of that key made it; without a key no request is a repeat."""
        return bool(request_key) and self.request_key == request_key
