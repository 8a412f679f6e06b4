from django.db import migrations, models

TABLES = ("inventory_host", "inventory_backend")


def leave_room(apps, schema_editor):
    """Each probe changes a row. If no index has a changed column, and the page of the row has room for the new version,
    PostgreSQL changes no index and reuses the room soon after (a HOT update). Rows move to pages with room when they
    are next updated.
    """
    if schema_editor.connection.vendor == "postgresql":
        for table in TABLES:
            schema_editor.execute(f"ALTER TABLE {table} SET (fillfactor = 50)")


def fill_pages(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        for table in TABLES:
            schema_editor.execute(f"ALTER TABLE {table} RESET (fillfactor)")


class Migration(migrations.Migration):
    dependencies = [("inventory", "0022_bounded_durations")]

    operations = [
        migrations.AlterField("backend", "available_until", models.DateTimeField()),
        migrations.AlterField("host", "available_until", models.DateTimeField()),
        migrations.AlterField("host", "agent_until", models.DateTimeField(blank=True, null=True)),
        migrations.RunPython(leave_room, fill_pages),
    ]
