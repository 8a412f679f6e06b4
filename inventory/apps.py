"""The Django app ``inventory``."""

from django.apps import AppConfig

from provisioner.common.writes import register_question


class InventoryConfig(AppConfig):
    """The Django app of the pool: nodes, hosts, licences and syslog settings."""

    name = "inventory"

    def ready(self) -> None:
        """Register the pool's check whether anything may be written."""
        from inventory.services.pool.identity import writes_question  # noqa: PLC0415 - needs models

        register_question(writes_question)
