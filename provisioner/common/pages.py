"""Commands that write a page of the documentation from the code."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any, ClassVar

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class PageCommand(BaseCommand):
    """Writes ``page``, a path in the repository. ``--check`` only checks whether the page is
    current.
    """

    page: ClassVar[str]
    requires_system_checks = ()

    def text(self) -> str:
        """The content of the page."""
        raise NotImplementedError

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.description = f"Writes {self.page} from the code."
        parser.add_argument(
            "--check", action="store_true", help="write nothing; fail if the page is outdated"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = settings.BASE_DIR / self.page
        text = self.text()
        if not options["check"]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            command = type(self).__module__.rpartition(".")[2]
            raise CommandError(f"{self.page} is outdated: run manage.py {command}")
