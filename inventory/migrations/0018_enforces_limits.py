from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inventory", "0017_sample_capacity")]

    operations = [
        migrations.AddField(
            model_name="backend",
            name="enforces_limits",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="it can limit IOPS and bandwidth of a volume",
            ),
        ),
    ]
