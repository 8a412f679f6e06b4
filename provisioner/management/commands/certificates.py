"""``manage.py certificates``: the pool's CA and the certificates it signs."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from provisioner.certificates import Authority

SERVER = "server"


class Command(BaseCommand):
    """Makes what is missing and renews what is near its end; keys stay as they are."""

    help = (
        "Makes the pool's CA, a server certificate (of the API, with haproxy.pem, or with "
        "--storage-node of a storage node), ssdtoolbox.pem for clients of the API and "
        "provisioner.pem, which the provisioner shows to nodes. None can stand in for another. The "
        "folder holds the CA's key: no server needs all of it, and none ca.key. Run it again at "
        "any time: keys stay, certificates near their end or without a role are renewed."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dir", type=Path, required=True, help="folder of the files")
        parser.add_argument(
            "--host",
            action="append",
            default=[],
            help="name or address under which the server is reached; may be repeated",
        )
        parser.add_argument(
            "--name", default=SERVER, help=f"of the server: names its files (default: {SERVER})"
        )

        parser.add_argument(
            "--storage-node", action="store_true", help="the server is a storage node, not the API"
        )
        parser.add_argument(
            "--persistent-id",
            action="append",
            default=[],
            help="of the storage node: its certificate is good for no other; may be repeated",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["persistent_id"] and not options["storage_node"]:
            raise CommandError("--persistent-id is for a storage node: give --storage-node, too.")
        authority = Authority.of(options["dir"])
        hosts = options["host"] or ["localhost", "127.0.0.1", "::1"]
        if options["storage_node"]:
            pair = authority.node(options["name"], hosts, options["persistent_id"])
        else:
            pair = authority.server(options["name"], hosts)
        made = [authority.path, *pair]
        if options["name"] == SERVER and not options["storage_node"]:
            made.append(authority.balancer(SERVER))
        made += [authority.client("ssdtoolbox"), authority.provisioner()]
        self.stdout.write("\n".join(str(path) for path in made))
