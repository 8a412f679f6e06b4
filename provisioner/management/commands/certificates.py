"""``manage.py certificates``: create and renew the pool's CA and its certificates."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from provisioner.certificates import Authority

SERVER = "server"


class Command(BaseCommand):
    """Creates missing certificates and renews those that expire soon; keys stay as they are."""

    help = (
        "Creates the pool's CA, a server certificate (for the API, with haproxy.pem, or with "
        "--storage-node for a storage node), ssdtoolbox.pem for clients of the API, and "
        "provisioner.pem, which the provisioner presents to nodes. Each is valid for one role. "
        "The folder contains the CA's key: no server needs the whole folder, and no server needs "
        "ca.key. You can run the command again at any time: keys stay the same, and certificates "
        "that expire soon or have no role are renewed."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dir", type=Path, required=True, help="folder of the files")
        parser.add_argument(
            "--host",
            action="append",
            default=[],
            help="name or address of the server; may be repeated",
        )
        parser.add_argument(
            "--name",
            default=SERVER,
            help=f"name of the server, and of its files (default: {SERVER})",
        )

        parser.add_argument(
            "--storage-node", action="store_true", help="the server is a storage node, not the API"
        )
        parser.add_argument(
            "--persistent-id",
            action="append",
            default=[],
            help="persistentID of the storage node: the certificate is valid only for this node; "
            "may be repeated",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["persistent_id"] and not options["storage_node"]:
            raise CommandError("--persistent-id is for a storage node: also give --storage-node.")
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
