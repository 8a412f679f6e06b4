import datetime as dt

from django.db import migrations
from django.db.models import F

LONGEST = 86_400


def shorten(apps, schema_editor):
    """Hosts that announced no probe for more than a day stay Available, and have an agent, for three days after their
    last probe at most.
    """
    long = apps.get_model("inventory", "Host").objects.filter(duration__gt=LONGEST)
    until = F("last_probe_at") + 3 * dt.timedelta(seconds=LONGEST)
    long.filter(agent_until__isnull=False).update(agent_until=until)
    long.update(available_until=until, duration=LONGEST)


class Migration(migrations.Migration):
    dependencies = [("inventory", "0021_generation_gap")]

    operations = [migrations.RunPython(shorten, migrations.RunPython.noop, elidable=True)]
