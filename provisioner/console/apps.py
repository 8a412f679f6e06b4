from django.contrib.admin.apps import AdminConfig


class ConsoleConfig(AdminConfig):
    """Makes the console Django's administration site."""

    default_site = "provisioner.console.site.ConsoleSite"

    def ready(self) -> None:
        """Keep JSON as text: where Pygments is installed, unfold would colour it with inline
        styles, which the content security policy refuses.
        """
        super().ready()
        from unfold import fields  # noqa: PLC0415 - needs apps

        fields.prettify_json = lambda _value, _encoder: None
