"""Shared steps of the tests of the readoption of replicas."""

from django.utils import timezone

from inventory.models import Backend
from tests.conftest import Api


def remove(api: Api, node: str) -> None:
    Backend.objects.filter(pk=node).update(available_until=timezone.now())
    assert api.delete(f"/backends/{node}", force="true").status == "Success"
