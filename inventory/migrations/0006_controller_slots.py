from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.utils import timezone

SLOTS = 1023


def number(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """The oldest node gets the first slot."""
    backends = apps.get_model("inventory", "Backend").objects.order_by("created_at", "persistent_id")
    if backends.count() > SLOTS:
        raise RuntimeError(f"a pool has {SLOTS} nodes at most: remove some before you upgrade")
    for slot, key in enumerate(backends.values_list("pk", flat=True), 1):
        backends.filter(pk=key).update(controller_slot=slot)


class Migration(migrations.Migration):
    dependencies = [("inventory", "0005_expands_spans_online")]

    operations = [
        migrations.AddField(
            model_name="backend",
            name="controller_slot",
            field=models.PositiveSmallIntegerField(blank=True, null=True, unique=True),
        ),
        migrations.RunPython(number, migrations.RunPython.noop),
        migrations.CreateModel(
            name="ReleasedSlot",
            fields=[
                (
                    "persistent_id",
                    models.CharField(max_length=64, primary_key=True, serialize=False),
                ),
                ("controller_slot", models.PositiveSmallIntegerField(unique=True)),
                ("released_at", models.DateTimeField(default=timezone.now)),
            ],
            options={"ordering": ["released_at"]},
        ),
    ]
