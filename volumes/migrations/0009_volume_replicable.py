from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def as_before(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """So far a volume was replicable if it was created with several replicas."""
    apps.get_model("volumes", "Volume").objects.filter(num_replicas__gt=1).update(replicable=True)


class Migration(migrations.Migration):
    dependencies = [("volumes", "0008_generations")]

    operations = [
        migrations.AddField(
            "volume",
            "replicable",
            models.BooleanField(
                default=False, help_text="as requested at creation: hosts may build a RAID over its replicas"
            ),
        ),
        migrations.RunPython(as_before, migrations.RunPython.noop, elidable=True),
    ]
