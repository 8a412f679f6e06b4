"""``manage.py audit``: compare the database with nodes and budgets."""

from typing import Any

from django.core.management.base import BaseCommand

from volumes.audit import audit


class Command(BaseCommand):
    """Print all differences. The exit code is 1 if there is any."""

    help = "Compare the database, every storage node and every budget; change nothing."

    def handle(self, *args: Any, **options: Any) -> None:
        differences = audit()
        for difference in differences:
            self.stdout.write(f"{difference.subject}: {difference.text}")
        self.stdout.write(f"{len(differences)} differences")
        if differences:
            raise SystemExit(1)
