from django.apps import AppConfig


class ProvisionerConfig(AppConfig):
    name = "provisioner"

    def ready(self) -> None:
        """Every process can send jobs: loading the Celery application registers its sender. So do
        lookups.
        """
        from provisioner import celery  # noqa: F401, PLC0415 - needs settings and apps
        from provisioner.common import lookups  # noqa: F401, PLC0415 - needs apps
