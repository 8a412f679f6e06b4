from django.db import migrations

MARGIN = 1_000_000
"""Generations that other transactions may take while the sequence is raised."""
SHORTEST = 10 * 1_000_000
REMEMBERED = 1_200 * 1_000_000
"""Microseconds: a gap is remembered at least for this time, so that each node is checked meanwhile,
unless a larger one follows."""

SEQUENCES = ("provisioner_gap_after", "provisioner_gap_until")

BODY = """
CREATE OR REPLACE FUNCTION provisioner_generations_raise(wanted bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    last bigint;
BEGIN
    IF (SELECT last_value FROM provisioner_generations) >= wanted THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_lock('provisioner_generations'::regclass::oid::bigint);
    BEGIN
        last := (SELECT last_value FROM provisioner_generations);
        IF last < wanted THEN
            PERFORM setval('provisioner_generations', wanted);
            {remember}
        END IF;
    EXCEPTION WHEN query_canceled OR OTHERS THEN
        PERFORM pg_advisory_unlock('provisioner_generations'::regclass::oid::bigint);
        RAISE;
    END;
    PERFORM pg_advisory_unlock('provisioner_generations'::regclass::oid::bigint);
END $$
"""

REMEMBER = f"""
            IF wanted - last > {SHORTEST} AND (
                wanted - last >= (SELECT last_value FROM provisioner_gap_until)
                               - (SELECT last_value FROM provisioner_gap_after)
                OR (SELECT last_value FROM provisioner_gap_until) < wanted - {REMEMBERED}
            ) THEN
                PERFORM setval('provisioner_gap_after', last + {MARGIN});
                PERFORM setval('provisioner_gap_until', wanted);
            END IF;
"""
"""No number between the two sequences was ever issued. ``until`` is written last. Sequences keep their values if the
transaction fails, as the sequence of generations does, and nobody waits for their locks."""


def remember_gaps(apps, schema_editor):
    """Only PostgreSQL raises the sequence when it issues a generation."""
    if schema_editor.connection.vendor == "postgresql":
        for name in SEQUENCES:
            schema_editor.execute(f"CREATE SEQUENCE {name} AS bigint")
        schema_editor.execute(BODY.format(remember=REMEMBER))


def forget_gaps(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(BODY.format(remember=""))
        for name in SEQUENCES:
            schema_editor.execute(f"DROP SEQUENCE {name}")


class Migration(migrations.Migration):
    dependencies = [("inventory", "0020_recovery_keeps_older")]

    operations = [migrations.RunPython(remember_gaps, forget_gaps)]
