from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_naive, make_aware

from provisioner.common.results import ProvisionerError
from volumes.reconcilers.recovery.database import database_recover


class Command(BaseCommand):
    """Exit code 1, and nothing changed, where nodes are silent."""

    help = (
        "After the database was restored from a backup, or a standby took over: compare it with "
        "all storage nodes, put its rows in order, and let it be written to again. Processes may "
        "run meanwhile, and it may be run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--without",
            action="append",
            default=[],
            metavar="NODE",
            help="a node that does not answer and is compared when it is back; may be repeated",
        )
        parser.add_argument(
            "--since",
            metavar="TIME",
            help="when the restored state was, in ISO 8601, where the system cannot tell that it "
            "is older than the nodes",
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
