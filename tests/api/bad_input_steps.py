"""Steps that tests of bad input share with others."""

from django.apps import apps


def counts() -> dict[str, int]:
    """Rows of every table."""
    return {model.__name__: model._default_manager.count() for model in apps.get_models()}
