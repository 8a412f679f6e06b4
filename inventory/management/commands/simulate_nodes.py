"""``manage.py simulate_nodes``: serves simulated storage nodes until stopped."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import urllib3
from django.core.management.base import BaseCommand, CommandError, CommandParser
from urllib3.exceptions import HTTPError

from inventory.nodes.engines.simulated import SimulatedFleet

MIB = 2**20
GIB = 2**30
PARENT_SECONDS = 0.5
CREDENTIALS_VARIABLE = "API_CREDENTIALS"


class Command(BaseCommand):
    """The token comes from a file, because all users can see arguments.

    :raises CommandError: a port is in use, or a file is missing or empty.
    """

    help = (
        "Serve simulated storage nodes over HTTPS until SIGTERM or SIGINT. SIGHUP reads renewed "
        "certificates. Prints one line per node: persistentID address:port. If --token-file is "
        f"given, callers must send its token. With --add-to, set {CREDENTIALS_VARIABLE} to "
        "NAME:PASSWORD of an ADMIN."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--count", type=int, default=4, help="how many nodes")
        parser.add_argument(
            "--address", default="127.0.0.1", help="address of all nodes, or of the first node"
        )
        parser.add_argument(
            "--own-addresses",
            action="store_true",
            help="one address for each node, counted up from --address",
        )
        parser.add_argument("--base-port", type=int, default=0, help="0: any free ports")
        parser.add_argument("--ssds", type=int, default=4, help="per node")
        parser.add_argument("--ssd-gib", type=int, default=1024, help="capacity of each SSD")
        parser.add_argument(
            "--copy-mib", type=int, default=1024, help="MiB per second of a copy between nodes"
        )
        parser.add_argument("--data", type=Path, help="directory that keeps the nodes' contents")
        parser.add_argument(
            "--certificate", type=Path, required=True, help="PEM file of the nodes' certificate"
        )
        parser.add_argument("--key", type=Path, required=True, help="PEM file")
        parser.add_argument("--ca", type=Path, help="PEM file of the CA of callers' certificates")
        parser.add_argument("--token-file", type=Path)
        parser.add_argument(
            "--id-prefix",
            default="02:00:00",
            help="prefix of persistentIDs; use a different prefix for further nodes of a pool",
        )
        parser.add_argument("--name", default="node", help="name of the nodes: NAME-1, NAME-2, ...")
        parser.add_argument("--add-to", metavar="URL", help="add the nodes to the API at this URL")
        parser.add_argument(
            "--client-certificate",
            type=Path,
            help="PEM file with certificate and key for the API of --add-to; --ca verifies that "
            "API",
        )
        parser.add_argument("--require-client-certificate", action="store_true")
        parser.add_argument(
            "--exit-with-parent", action="store_true", help="stop when the starting process ends"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        parent = os.getppid() if options["exit_with_parent"] else None
        stop, renew = threading.Event(), threading.Event()
        signal.signal(signal.SIGHUP, lambda *_: renew.set())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        try:
            with _fleet(options) as fleet:
                for node in fleet.nodes:
                    self.stdout.write(f"{node.persistent_id} {node.address}:{node.port}")
                self.stdout.flush()
                if options["add_to"]:
                    _add(fleet, options)
                while not stop.wait(PARENT_SECONDS) and parent in (None, os.getppid()):
                    if renew.is_set():
                        renew.clear()
                        fleet.renew_certificates()
        except (OSError, HTTPError) as error:
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
        id_prefix=options["id_prefix"],
        name=options["name"],
    )


def _add(fleet: SimulatedFleet, options: dict[str, Any]) -> None:
    """Add the nodes to the API, unless it has them.

    :raises CommandError: the API refuses a node.
    """
    pem = options["client_certificate"]
    http = urllib3.PoolManager(
        ca_certs=options["ca"] and str(options["ca"]), cert_file=pem and str(pem), retries=False
    )
    headers = urllib3.make_headers(basic_auth=os.environ.get(CREDENTIALS_VARIABLE, ""))
    for node in fleet.nodes:
        body = {"mgmtIPs": [node.address], "mgmtPort": node.port}
        answer = http.request("POST", f"{options['add_to']}/backends", json=body, headers=headers)
        said = answer.json()
        if said.get("status") not in {"Success", "AlreadyExists"}:
            raise CommandError(f"{node.persistent_id} was not added: {said.get('description')}")
        print(f"{node.persistent_id} added", flush=True)


def _token(file: Path | None) -> str | None:
    """:raises CommandError: there is a file, but no token in it."""
    if file is None:
        return None
    token = file.read_text().strip()
    if not token:
        raise CommandError(f"{file} is empty")
    return token
