"""Let a volume be found by its alias without its tenant, by the same index."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('volumes', '0014_volumes_that_reserve'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='snapshot',
            name='snapshot_alias_once_per_tenant',
        ),
        migrations.RemoveConstraint(
            model_name='volume',
            name='volume_alias_once_per_tenant',
        ),
        migrations.AddConstraint(
            model_name='snapshot',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'DELETING'), _negated=True), fields=('alias', 'tenant'), name='snapshot_alias_once_per_tenant'),
        ),
        migrations.AddConstraint(
            model_name='volume',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'DELETING'), _negated=True), fields=('alias', 'tenant'), name='volume_alias_once_per_tenant'),
        ),
    ]
