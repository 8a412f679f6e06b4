from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.utils import timezone


def keep(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Each id that an export has stays its replica's. Of one that several have, nobody is the
    owner: node checks give all but one of them another, where no host sees it.
    """
    exports = apps.get_model("volumes", "Export").objects.filter(for_copy=False)
    going = models.Case(models.When(state="DELETING", then=1), default=0)
    wanted_first = exports.order_by(going, "pk")
    replicas: dict[tuple[str, int], set[int]] = {}
    for nqn, nsid, replica in wanted_first.values_list("target_nqn", "nsid", "replica_id"):
        replicas.setdefault((nqn, nsid), set()).add(replica)
    owned: set[tuple[str, int]] = set()
    rows = []
    namespace_id = apps.get_model("volumes", "NamespaceId")
    for (nqn, nsid), keys in replicas.items():
        owner = keys.pop() if len(keys) == 1 else None
        if owner is not None and (nqn, owner) in owned:
            owner = None
        elif owner is not None:
            owned.add((nqn, owner))
        rows.append(namespace_id(target_nqn=nqn, nsid=nsid, replica_key=owner))
    namespace_id.objects.bulk_create(rows, batch_size=1000)


class Migration(migrations.Migration):
    dependencies = [("volumes", "0006_exports_by_piece")]

    operations = [
        migrations.CreateModel(
            name="NamespaceId",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("target_nqn", models.CharField(max_length=223)),
                ("nsid", models.PositiveIntegerField()),
                ("replica_key", models.BigIntegerField(blank=True, null=True)),
                ("last_used_at", models.DateTimeField(default=timezone.now)),
            ],
            options={
                "ordering": ["target_nqn", "nsid"],
                "indexes": [models.Index(fields=["last_used_at"], name="namespace_ids_by_age")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=["target_nqn", "nsid"], name="id_is_one_namespace"
                    ),
                    models.UniqueConstraint(
                        fields=["target_nqn", "replica_key"], name="namespace_has_one_id"
                    ),
                ],
            },
        ),
        migrations.RunPython(keep, migrations.RunPython.noop),
        # the version before goes on meanwhile: its column stays until the next version
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveConstraint(model_name="publication", name="nsid_once_per_host"),
                migrations.RemoveField(model_name="publication", name="nsid"),
            ]
        ),
    ]
