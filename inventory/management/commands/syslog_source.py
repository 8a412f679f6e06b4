"""``manage.py syslog_source``: chooses the node whose syslog settings the pool uses."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from inventory.services.syslog.settings import syslog_source_choose


class Command(BaseCommand):
    """Chooses the node; a job reads its settings.

    :raises CommandError: the node is not in the pool.
    """

    help = "Use the syslog settings of this storage node for the pool."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("node", help="persistentID")

    def handle(self, *args: Any, **options: Any) -> None:
        if not syslog_source_choose(persistent_id=options["node"]):
            raise CommandError(f"There is no backend {options['node']!r}.")
        self.stdout.write(f"The pool uses the syslog settings of {options['node']}.")
