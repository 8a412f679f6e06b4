"""``manage.py settings_table``: write docs/reference/settings.md from the settings."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from provisioner.environment import Environment, variable_name

PAGE = "docs/reference/settings.md"

HEAD = """# Settings

Every setting that differs between machines is an environment variable. A process with a wrong
value ends at its start, with a sentence that names the variable. Variables that are not set are
read from the file SETTINGS_FILE. `manage.py settings_table` writes this page from
`provisioner/environment.py`.

| variable | default | meaning |
| --- | --- | --- |
"""


class Command(BaseCommand):
    help = f"Writes {PAGE}; with --check only checks whether it is current."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="write nothing; fail if the page is not current"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        page = settings.BASE_DIR / PAGE
        text = HEAD + "".join(
            f"| `{variable_name(name)}` | {_default(field)} | {field.description} |\n"
            for name, field in Environment.model_fields.items()
        )
        if not options["check"]:
            page.write_text(text)
        elif not page.exists() or page.read_text() != text:
            raise CommandError(f"{PAGE} is not current: run manage.py settings_table")


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "(must be set)"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, tuple):
        value = ",".join(value)
    if isinstance(value, bool):
        value = str(value).lower()
    return f"`{value}`" if value not in (None, "") else ""
