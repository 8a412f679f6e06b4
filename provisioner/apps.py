from django.apps import AppConfig


class ProvisionerConfig(AppConfig):
    name = "provisioner"

    def ready(self) -> None:
        """Load our database lookups, and the Celery application, so that every process can send
        jobs.
        """
        from provisioner import celery  # noqa: F401, PLC0415 - needs settings and apps
        from provisioner.common import lookups  # noqa: F401, PLC0415 - needs apps
