"""``manage.py certificates``: the pool's CA and the certificates it signs."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from provisioner.certificates import Authority

SERVER = "server"


class Command(BaseCommand):
    """Makes what is missing and renews what is near its end; keys stay as they are."""

    help = (
        "Makes the pool's CA, a server certificate (of the API, with haproxy.pem, or with --name "
        "of a storage node), ssdtoolbox.pem for clients of the API and provisioner.pem, which the "
        "provisioner shows to nodes. The folder holds the CA's key: no server needs all of it, and "
        "none ca.key. Run it again at any time: keys stay, certificates near their end are renewed."
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

    def handle(self, *args: Any, **options: Any) -> None:
        authority = Authority.of(options["dir"])
        hosts = options["host"] or ["localhost", "127.0.0.1", "::1"]
        certificate, key = authority.server(options["name"], hosts)
        made = [authority.path, certificate, key]
        if options["name"] == SERVER:
            made.append(authority.balancer(SERVER))
        made += [authority.client(name) for name in ("ssdtoolbox", "provisioner")]
        self.stdout.write("\n".join(str(path) for path in made))
