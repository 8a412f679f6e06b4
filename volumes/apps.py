"""The Django app of volumes."""

from django.apps import AppConfig


class VolumesConfig(AppConfig):
    """Registers the app."""

    name = "volumes"
