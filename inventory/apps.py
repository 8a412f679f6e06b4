from django.apps import AppConfig

from provisioner.common.writes import register_question


class InventoryConfig(AppConfig):
    name = "inventory"

    def ready(self) -> None:
        """Whether anything may be written is the pool's to say."""
        from inventory.services.pool import writes_question  # noqa: PLC0415 - needs models

        register_question(writes_question)
