"""``manage.py database_restored``: make a restored database agree with its nodes."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_naive, make_aware

from provisioner.common.results import ProvisionerError
from volumes.reconcilers.recovery.database import database_recover


class Command(BaseCommand):
    """Run the recovery. If nodes are silent, the exit code is 1 and nothing is changed."""

    help = (
        "After the database was restored from a backup, or a standby took over: compare the "
        "database with all storage nodes, correct the rows, and allow writes again. Processes may "
        "run meanwhile, and the command may be repeated."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--without",
            action="append",
            default=[],
            metavar="NODE",
            help="a node that does not answer; it is compared when it is back; may be repeated",
        )
        parser.add_argument(
            "--since",
            metavar="TIME",
            help="time of the restored state in ISO 8601; needed if the system cannot tell that "
            "the database is older than the nodes",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        since = parse_datetime(options["since"]) if options["since"] else None
        if options["since"] and since is None:
            raise CommandError(f"--since {options['since']}: not a time in ISO 8601")
        if since is not None and is_naive(since):
            since = make_aware(since)
        try:
            done = database_recover(without=options["without"], since=since)
        except ProvisionerError as error:
            raise CommandError(error.description) from error
        for line in done:
            self.stdout.write(line)
