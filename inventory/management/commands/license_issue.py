"""``manage.py license_issue``: prints a new licence."""

import datetime as dt
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.core.management.base import BaseCommand, CommandError, CommandParser
from pydantic import ValidationError

from inventory.models import LicenseType
from inventory.services.licenses import LicenseTerms, license_issue


class Command(BaseCommand):
    """Prints only the licence.

    :raises CommandError: an argument is not valid, or the file holds no Ed25519 key.
    """

    help = (
        "Issue a licence and print it, for POST /license. The embedded form accepts licences of "
        "the key deploy/demo-license-key.pem; license_key creates other keys."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--type", choices=LicenseType.values, default=LicenseType.PRODUCTION)
        parser.add_argument(
            "--expires",
            type=dt.datetime.fromisoformat,
            help="2030-01-31 or 2030-01-31T12:00:00+00:00; without a zone UTC; default: never",
        )
        parser.add_argument("--max-backends", type=int, help="default: any number")
        parser.add_argument("--key", type=Path, required=True, help="PEM file of the vendor's key")

    def handle(self, *args: Any, **options: Any) -> None:
        expires = options["expires"]
        if expires is not None and expires.tzinfo is None:
            expires = expires.replace(tzinfo=dt.UTC)
        try:
            terms = LicenseTerms(
                type=options["type"], expirationDate=expires, maxBackends=options["max_backends"]
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise CommandError(f"{first['loc'][0]}: {first['msg']}.") from None
        self.stdout.write(license_issue(terms=terms, key=_key(options["key"])))


def _key(file: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise CommandError(f"{file} cannot be read as a PEM key: {error}.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise CommandError(f"{file} contains no Ed25519 key.")
    return key
