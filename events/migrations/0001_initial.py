from django.db import migrations, models

import events.models


def index_objects(apps, schema_editor):
    """``subjects__holds`` uses it; SQLite has no such index, and few events."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "CREATE INDEX events_of_object ON events_event USING gin (subjects jsonb_path_ops)"
        )


class Migration(migrations.Migration):

    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Event",
            fields=[
                ("number", models.BigAutoField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField(db_default=events.models.ClockTimestamp(), db_index=True)),
                ("kind", models.CharField(max_length=32)),
                ("severity", models.PositiveSmallIntegerField(choices=[(10, "info"), (20, "warning"), (30, "error"), (40, "critical")])),
                ("text", models.TextField()),
                ("reason", models.TextField(blank=True)),
                ("actor_type", models.CharField(choices=[("caller", "Caller"), ("host", "Host"), ("node", "Node"), ("worker", "Worker"), ("command", "Command")], max_length=8)),
                ("actor", models.CharField(max_length=255)),
                ("request_id", models.CharField(blank=True, max_length=64)),
                ("tenant_id", models.CharField(blank=True, max_length=64)),
                ("subjects", models.JSONField(default=list)),
                ("details", models.JSONField(default=dict)),
            ],
            options={
                "ordering": ["number"],
                "indexes": [
                    models.Index(fields=["tenant_id", "number"], name="events_of_tenant"),
                    models.Index(condition=models.Q(("severity__gte", 20)), fields=["severity", "at"], name="urgent_events"),
                ],
            },
        ),
        migrations.RunPython(index_objects, migrations.RunPython.noop),
    ]
