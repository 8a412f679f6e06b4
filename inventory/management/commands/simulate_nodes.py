"""Serve simulated storage nodes until told to stop."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from inventory.nodes.engines.simulated import SimulatedFleet

MIB = 2**20
GIB = 2**30
PARENT_SECONDS = 0.5
TOKEN_VARIABLE = "NODE_TOKEN"  # noqa: S105


class Command(BaseCommand):
    """The token is read from a file or the environment: arguments are seen by all users.

    :raises CommandError: a port is taken, a file is missing or empty.
    """

    help = (
        "Serve simulated storage nodes over HTTPS until SIGTERM or SIGINT. Prints one line per "
        "node: persistentID address:port. Callers must show the token of --token-file or else of "
        f"{TOKEN_VARIABLE}, if there is one."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--count", type=int, default=4, help="how many nodes")
        parser.add_argument("--address", default="127.0.0.1", help="of all nodes, or of the first")
        parser.add_argument(
            "--own-addresses", action="store_true", help="count up --address, not the port"
        )
        parser.add_argument("--base-port", type=int, default=0, help="0: any free ports")
        parser.add_argument("--ssds", type=int, default=4, help="per node")
        parser.add_argument("--ssd-gib", type=int, default=1024, help="capacity of each SSD")
        parser.add_argument(
            "--copy-mib", type=int, default=1024, help="MiB per second of a copy between nodes"
        )
        parser.add_argument("--data", type=Path, help="directory that keeps what the nodes hold")
        parser.add_argument("--certificate", type=Path, required=True, help="PEM, of the nodes")
        parser.add_argument("--key", type=Path, required=True, help="PEM")
        parser.add_argument("--ca", type=Path, help="PEM, of the callers' certificates")
        parser.add_argument("--token-file", type=Path)
        parser.add_argument("--require-client-certificate", action="store_true")
        parser.add_argument(
            "--exit-with-parent", action="store_true", help="stop when the starting process ends"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        parent = os.getppid() if options["exit_with_parent"] else None
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        try:
            with _fleet(options) as fleet:
                for node in fleet.nodes:
                    self.stdout.write(f"{node.persistent_id} {node.address}:{node.port}")
                self.stdout.flush()
                while not stop.wait(PARENT_SECONDS) and parent in (None, os.getppid()):
                    pass
        except OSError as error:
            raise CommandError(f"cannot serve: {error}") from error


def _fleet(options: dict[str, Any]) -> SimulatedFleet:
    if options["require_client_certificate"] and not options["ca"]:
        raise CommandError("--require-client-certificate needs --ca")
    data = options["data"]
    if data:
        data.mkdir(parents=True, exist_ok=True)
    return SimulatedFleet(
        options["count"],
        certificate=options["certificate"],
        key=options["key"],
        ca=options["ca"],
        require_client_certificate=options["require_client_certificate"],
        token=_token(options["token_file"]),
        address=options["address"],
        own_addresses=options["own_addresses"],
        base_port=options["base_port"],
        store=data / "nodes.sqlite3" if data else ":memory:",
        ssds=options["ssds"],
        ssd_bytes=options["ssd_gib"] * GIB,
        copy_rate=options["copy_mib"] * MIB,
    )


def _token(file: Path | None) -> str | None:
    """:raises CommandError: there is a file, but no token in it."""
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    token = file.read_text().strip()
    if not token:
        raise CommandError(f"{file} is empty")
    return token
