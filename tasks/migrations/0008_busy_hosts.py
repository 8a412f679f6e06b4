"""Let the hosts that have tasks be read from a small index."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tasks', '0007_reported_params'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='task',
            index=models.Index(condition=models.Q(('host_id', ''), _negated=True), fields=['host_id'], name='task_busy_hosts'),
        ),
    ]
