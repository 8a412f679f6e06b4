import datetime as dt

from django.db import migrations
from django.utils import timezone


def add(apps, schema_editor):
    apps.get_model("inventory", "License").objects.create(
        expires_at=timezone.now() + dt.timedelta(days=30)
    )


class Migration(migrations.Migration):
    """Until a licence is installed there is one of type POC: 30 days, 4 backends."""

    dependencies = [("inventory", "0001_initial")]

    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
