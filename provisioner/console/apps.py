from django.contrib.admin.apps import AdminConfig


class ConsoleConfig(AdminConfig):
    """Makes the console Django's administration site."""

    default_site = "provisioner.console.site.ConsoleSite"

    def ready(self) -> None:
        """Show JSON as plain text. If Pygments is installed, unfold would colour JSON with inline
        styles, which the content security policy forbids.
        """
        super().ready()
        from unfold import fields  # noqa: PLC0415 - needs apps

        fields.prettify_json = lambda _value, _encoder: None
