"""``manage.py settings_table``: write docs/reference/settings.md from the settings."""

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from provisioner.common.pages import PageCommand
from provisioner.environment import Environment, variable_name

HEAD = """# Settings

Every setting is an environment variable. Variables that are not set in the environment are read
from the file SETTINGS_FILE. If a value is wrong, the process ends at its start with a sentence that
names the variable. `manage.py settings_table` writes this page from `provisioner/environment.py`.

| variable | default | meaning |
| --- | --- | --- |
"""


class Command(PageCommand):
    page = "docs/reference/settings.md"

    def text(self) -> str:
        return HEAD + "".join(
            f"| `{variable_name(name)}` | {_default(field)} | {field.description} |\n"
            for name, field in Environment.model_fields.items()
        )


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
