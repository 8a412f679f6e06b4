import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q

LIVE = ~Q(state="DELETING")


class Migration(migrations.Migration):
    dependencies = [("volumes", "0010_database_time")]

    operations = [
        migrations.RemoveConstraint("replica", "replica_uuid_once"),
        migrations.RemoveConstraint("replica", "one_replica_fills_at_once"),
        migrations.RemoveConstraint("volume", "volume_growth_has_deadline"),
        migrations.RenameModel("Turn", "JobLease"),
        migrations.RenameModel("ReplicaMove", "ReplicaRelocation"),
        migrations.RenameField("replica", "filling", "rebuilding"),
        migrations.RenameField("replica", "made_by", "created_by_task"),
        migrations.RenameField("volume", "growing_to_bytes", "expanding_to_bytes"),
        migrations.RenameField("publication", "request_key", "idempotency_digest"),
        migrations.RenameField("snapshot", "request_key", "idempotency_digest"),
        migrations.RenameField("volume", "request_key", "idempotency_digest"),
        migrations.AlterField(
            "replicarelocation",
            "replica",
            models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE,
                primary_key=True,
                related_name="relocation",
                serialize=False,
                to="volumes.replica",
            ),
        ),
        migrations.AddConstraint(
            "replica",
            models.UniqueConstraint(
                condition=LIVE & Q(rebuilding=False), fields=("uuid",), name="replica_uuid_once"
            ),
        ),
        migrations.AddConstraint(
            "replica",
            models.UniqueConstraint(
                condition=LIVE & Q(rebuilding=True),
                fields=("volume",),
                name="one_replica_fills_at_once",
            ),
        ),
        migrations.AddConstraint(
            "volume",
            models.CheckConstraint(
                condition=Q(expanding_to_bytes__isnull=True) | Q(deadline_at__isnull=False),
                name="volume_growth_has_deadline",
            ),
        ),
    ]
