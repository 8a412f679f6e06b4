from django.apps import AppConfig


class ProvisionerConfig(AppConfig):
    name = "provisioner"

    def ready(self) -> None:
        """Every process can send jobs: loading the Celery application registers its sender."""
        from provisioner import celery  # noqa: F401, PLC0415 - needs settings and apps
