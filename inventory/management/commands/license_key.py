"""``manage.py license_key``: creates a vendor's key pair for licences."""

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.management.base import BaseCommand, CommandError, CommandParser

from inventory.services.licenses import vendor_public_key


class Command(BaseCommand):
    """Writes the private key and prints the public one.

    :raises CommandError: the file exists or cannot be written.
    """

    help = (
        "Create a key pair for licences. The private key is written to the file, for "
        "license_issue. The public key, the value of LICENSE_PUBLIC_KEY, is printed."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="new PEM file; keep it secret")

    def handle(self, *args: Any, **options: Any) -> None:
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            options["file"].touch(mode=0o600, exist_ok=False)
            options["file"].write_bytes(pem)
        except OSError as error:
            raise CommandError(f"cannot write: {error}.") from error
        self.stdout.write(vendor_public_key(key))
