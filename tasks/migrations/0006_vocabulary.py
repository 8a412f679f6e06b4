from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("tasks", "0005_job_runs")]

    operations = [
        migrations.RenameField("task", "heard_at", "last_activity_at"),
    ]
