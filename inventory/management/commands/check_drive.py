"""``manage.py check_drive``: checks whether a drive may be declared ``zeroes_on_unmap``."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from inventory.nodes.engines.spdk.drives import (
    Extent,
    NotUsable,
    Outcome,
    check_drive,
)
from inventory.nodes.engines.spdk.kernel_drive import KernelDrive


class Command(BaseCommand):
    """The command needs no database, Redis or SPDK.

    :raises CommandError: the drive must not be declared ``zeroes_on_unmap``, or cannot be checked.
    """

    help = (
        "Check whether a drive reads as zeros after discards: write a pattern, discard it in many "
        "sizes and places, and read it back. Run it as root, before SPDK takes the drive over "
        "(docs/how-to/add-an-spdk-node.md)."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("drive", type=Path, help="a block device, or a file")
        parser.add_argument(
            "--destroy-data",
            action="store_true",
            help="check the drive even if it contains data; the check overwrites some of the data",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["drive"]
        try:
            with KernelDrive.opened(path) as drive:
                found = check_drive(drive, destroys_data=options["destroy_data"])
        except (NotUsable, OSError) as error:
            raise CommandError(f"{path}: {error}") from error
        for extent, outcome in found.items():
            print(_line(extent, outcome))
        wrong = [one for one in found.values() if one is not Outcome.ZEROS]
        if wrong:
            raise CommandError(
                f"{path}: {len(wrong)} of {len(found)} discards did not leave zeros:"
                " set zeroes_on_unmap = false"
            )
        print(f"{path}: all {len(found)} discards left zeros: zeroes_on_unmap = true is possible")


def _line(extent: Extent, outcome: Outcome) -> str:
    return f"{extent.length:>9} bytes at {extent.offset:>16}: {outcome}"
