import uuid

import inventory.models.pool
import django.utils.timezone
from django.db import migrations, models

SEAL = """
CREATE FUNCTION provisioner_seal() RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN (SELECT seal FROM inventory_pool);
    END IF;
    RETURN concat_ws('/',
        (SELECT system_identifier FROM pg_control_system()),
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        'inventory_pool'::regclass::oid,
        left(pg_walfile_name(pg_current_wal_insert_lsn()), 8));
END $$
"""
"""Tells this database from all of its copies: the cluster, the database, the table, and the
timeline, which is another after a recovery to a point in time and after a standby took over. A
standby, which takes no writes, does not ask."""

LAG = 1_000_000
"""How far, in microseconds, generations may stay behind the clock."""

SEQUENCE = "CREATE SEQUENCE provisioner_generations AS bigint"

RAISE = """
CREATE FUNCTION provisioner_generations_raise(wanted bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT last_value FROM provisioner_generations) >= wanted THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_lock('provisioner_generations'::regclass::oid::bigint);
    BEGIN
        IF (SELECT last_value FROM provisioner_generations) < wanted THEN
            PERFORM setval('provisioner_generations', wanted);
        END IF;
    EXCEPTION WHEN query_canceled OR OTHERS THEN
        PERFORM pg_advisory_unlock('provisioner_generations'::regclass::oid::bigint);
        RAISE;
    END;
    PERFORM pg_advisory_unlock('provisioner_generations'::regclass::oid::bigint);
END $$
"""
"""The lock is held for this statement alone, not until the commit: nobody waits for a lock of ours
who holds another that we want."""

NEXT = f"""
CREATE FUNCTION provisioner_generation() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    clock bigint := floor(extract(epoch FROM clock_timestamp()) * 1000000);
BEGIN
    IF NOT EXISTS (SELECT FROM inventory_pool WHERE seal = provisioner_seal() AND doubt = '') THEN
        RAISE EXCEPTION 'this database may be older than its storage nodes' USING ERRCODE = 'PV001';
    END IF;
    IF (SELECT last_value FROM provisioner_generations) < clock - {LAG} THEN
        PERFORM provisioner_generations_raise(clock);
    END IF;
    RETURN nextval('provisioner_generations');
END $$
"""


def make_functions(apps, schema_editor):
    """SQLite numbers its rows itself: see ``inventory/services/pool/generations.py``."""
    if schema_editor.connection.vendor == "postgresql":
        for statement in (SEQUENCE, SEAL, RAISE, NEXT):
            schema_editor.execute(statement)


def drop_functions(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "DROP FUNCTION provisioner_generation(), provisioner_generations_raise(bigint),"
            " provisioner_seal()"
        )
        schema_editor.execute("DROP SEQUENCE provisioner_generations")


def add_pool(apps, schema_editor):
    """A pool is born with its database, or with the upgrade to this version."""
    seal = ""
    if schema_editor.connection.vendor == "postgresql":
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("SELECT provisioner_seal()")
            [seal] = cursor.fetchone()
    identity = str(uuid.uuid4())
    apps.get_model("inventory", "Pool").objects.create(
        uuid=identity, name=f"pool-{identity[:8]}", seal=seal
    )


class Migration(migrations.Migration):

    dependencies = [("inventory", "0006_controller_slots")]

    operations = [
        migrations.CreateModel(
            name="Pool",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("uuid", models.CharField(default=inventory.models.pool.new_identity, max_length=36)),
                ("name", models.CharField(max_length=64)),
                ("seal", models.CharField(blank=True, max_length=128)),
                ("doubt", models.TextField(blank=True)),
                ("doubt_since", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="one_pool")],
            },
        ),
        migrations.CreateModel(
            name="Recovery",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("after_generation", models.BigIntegerField()),
                ("until_generation", models.BigIntegerField()),
                ("awaited", models.JSONField(blank=True, default=list)),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={"ordering": ["id"], "verbose_name_plural": "recoveries"},
        ),
        migrations.RunPython(make_functions, drop_functions),
        migrations.RunPython(add_pool, migrations.RunPython.noop),
    ]
