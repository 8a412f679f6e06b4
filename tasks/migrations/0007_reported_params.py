from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tasks", "0006_vocabulary")]

    operations = [
        migrations.AddField("task", "reported_params", models.JSONField(blank=True, null=True))
    ]
