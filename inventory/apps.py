"""The Django app ``inventory``."""

from django.apps import AppConfig

from provisioner.common.writes import register_check


class InventoryConfig(AppConfig):
    """The Django app of the pool: nodes, hosts, licences and syslog settings."""

    name = "inventory"

    def ready(self) -> None:
        """Register the check whether writes are allowed."""
        from inventory.services.pool.identity import writes_barred_reason  # noqa: PLC0415 - needs models

        register_check(writes_barred_reason)
