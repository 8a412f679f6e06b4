"""``manage.py orphans``: list, adopt or discard orphans."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from provisioner.common.results import ProvisionerError
from volumes.models import Orphan
from volumes.reconcilers.recovery.adoption import orphan_adopt
from volumes.reconcilers.recovery.discard import orphan_discard

ACTIONS = {"adopt": orphan_adopt, "discard": orphan_discard}


class Command(BaseCommand):
    """Adopt or discard the named orphans. The exit code is 1 if one of them fails; the others are
    still handled.
    """

    help = (
        "Orphans are objects that nodes hold and the database does not know. List them, adopt "
        "them as the volumes or snapshots that their owner records name, or discard them "
        "permanently."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["list", *ACTIONS])
        parser.add_argument("ids", nargs="*", type=int, metavar="ID")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "list":
            self._list()
            return
        failed = 0
        for orphan_id in options["ids"]:
            try:
                self.stdout.write(ACTIONS[options["action"]](orphan_id))
            except ProvisionerError as error:
                failed += 1
                self.stderr.write(error.description)
        if failed:
            raise CommandError(f"{failed} of {len(options['ids'])} failed")

    def _list(self) -> None:
        for orphan in Orphan.objects.order_by("pk"):
            about = f"{orphan.alias!r} of tenant {orphan.tenant_id!r} in pool {orphan.pool or '?'}"
            kept = "kept" if orphan.kept else "removed after the grace period"
            self.stdout.write(f"{orphan.pk}  {orphan}: {about}, {orphan.size_bytes} bytes, {kept}")
