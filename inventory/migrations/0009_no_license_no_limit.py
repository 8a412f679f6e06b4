from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def lift(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    rows = apps.get_model("inventory", "License").objects.filter(encrypted_text="")
    rows.update(type="PRODUCTION", expires_at=None, max_backends=None)


class Migration(migrations.Migration):
    """Where no licence is installed, nothing is limited."""

    dependencies = [("inventory", "0008_host_agents")]

    operations = [
        migrations.AlterField(
            "license", "max_backends", models.PositiveIntegerField(blank=True, null=True)
        ),
        migrations.AlterField(
            "license",
            "type",
            models.CharField(
                choices=[("POC", "Poc"), ("PRODUCTION", "Production")],
                default="PRODUCTION",
                max_length=16,
            ),
        ),
        migrations.RunPython(lift, migrations.RunPython.noop, elidable=True),
    ]
