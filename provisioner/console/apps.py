from django.contrib.admin.apps import AdminConfig


class ConsoleConfig(AdminConfig):
    """Makes the console Django's administration site."""

    default_site = "provisioner.console.site.ConsoleSite"
