"""Shared steps of the tests of bad input."""

from django.apps import apps


def counts() -> dict[str, int]:
    """Return the number of rows of every table."""
    return {model.__name__: model._default_manager.count() for model in apps.get_models()}
