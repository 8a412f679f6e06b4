from django.db import migrations


def add(apps, schema_editor):
    apps.get_model("volumes", "Tenant").objects.create(
        tenant_id="0", name="default", follows_pool=True
    )


class Migration(migrations.Migration):
    """Tenant "0" always exists; until someone sets its budget it follows the pool."""

    dependencies = [("volumes", "0001_initial")]

    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
