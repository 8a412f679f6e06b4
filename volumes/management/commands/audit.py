from typing import Any

from django.core.management.base import BaseCommand

from volumes.audit import audit


class Command(BaseCommand):
    """Exit code 1 when there is any difference."""

    help = "Compare the database, every storage node and every budget; change nothing."

    def handle(self, *args: Any, **options: Any) -> None:
        differences = audit()
        for difference in differences:
            self.stdout.write(f"{difference.subject}: {difference.text}")
        self.stdout.write(f"{len(differences)} differences")
        if differences:
            raise SystemExit(1)
