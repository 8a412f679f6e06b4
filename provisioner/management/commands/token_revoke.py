"""``manage.py token_revoke``: revoke a local token."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from provisioner.access.revocation import token_revoke
from provisioner.access.tokens import TokenRefused, token_identify, token_or_id_identify


class Command(BaseCommand):
    """Revokes a token.

    :raises CommandError: it is not a local token with an id.
    """

    help = (
        "Revoke the token that is read from stdin, or the one with the claim jti given by --id. "
        "Each process refuses it within 5 s."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--id", help="the token's claim jti")

    def handle(self, *args: Any, **options: Any) -> None:
        named = options["id"]
        try:
            token_id, expires_at = (
                token_identify(sys.stdin.readline().strip())
                if named is None
                else token_or_id_identify(named)
            )
        except TokenRefused as error:
            raise CommandError(f"{error}.") from error
        token_revoke(token_id=token_id, expires_at=expires_at)
        self.stdout.write(f"Revoked {token_id}.")
