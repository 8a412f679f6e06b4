from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inventory", "0018_clock_ahead")]

    operations = [
        migrations.AddField(
            model_name="backend",
            name="enforces_limits",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="the node can limit IOPS and bandwidth of a volume",
            ),
        ),
    ]
