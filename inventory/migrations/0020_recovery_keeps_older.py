from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inventory", "0019_enforces_limits")]

    operations = [
        migrations.AddField(
            model_name="recovery",
            name="keeps_older",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
