"""``manage.py standalone``: run the embedded form."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from provisioner.standalone.run import run


class Command(BaseCommand):
    help = (
        "Runs the whole system with one command: API, Celery, beat, SQLite and four simulated "
        "storage nodes, all in the folder DATA_DIR. The API listens on API_PORT, the nodes on the "
        "next four ports. Ctrl-C stops the system."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--scenario",
            action="store_true",
            help="first run the demonstration, and show each request",
        )
        parser.add_argument(
            "--exit", action="store_true", help="stop at the end of the demonstration"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        leave = options["exit"] and options["scenario"]
        run(settings.ENVIRONMENT, scenario=options["scenario"], leave=leave)
