"""Shared steps of the tests of publications."""

import datetime as dt

from django.utils import timezone

from inventory.models import Backend, Host


def silent(row: Backend | Host) -> None:
    """Change the host as if it had reported nothing for a long time."""
    model = type(row)
    model.objects.filter(pk=row.pk).update(available_until=timezone.now() - dt.timedelta(1))
