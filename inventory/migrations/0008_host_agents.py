from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import F


def agents_of_known_hosts(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Hosts whose last probe came from their agent have one until its next probe is late."""
    hosts = apps.get_model("inventory", "Host").objects
    by_driver = hosts.filter(version__startswith="cinder-driver")
    by_driver.update(probed_by_driver=True)
    hosts.filter(probed_by_driver=False).update(agent_until=F("available_until"))


class Migration(migrations.Migration):
    dependencies = [("inventory", "0007_pool")]

    operations = [
        migrations.AddField(
            "host", "agent_until", models.DateTimeField(blank=True, db_index=True, null=True)
        ),
        migrations.AddField("host", "probed_by_driver", models.BooleanField(default=False)),
        migrations.RunPython(agents_of_known_hosts, migrations.RunPython.noop, elidable=True),
    ]
