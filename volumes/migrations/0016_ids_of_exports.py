"""Let exports be found by target and namespace id together, and by the NQN of their host."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('volumes', '0015_alias_first'),
    ]

    # the removal comes last, because it locks out reads until the end
    operations = [
        migrations.AddIndex(
            model_name='export',
            index=models.Index(fields=['target_nqn', 'nsid'], name='exports_by_id'),
        ),
        migrations.AddIndex(
            model_name='export',
            index=models.Index(fields=['host_nqn'], name='exports_by_host_nqn'),
        ),
        migrations.RemoveIndex(
            model_name='export',
            name='exports_of_target',
        ),
    ]
