"""``manage.py token_revoke``: a local token counts no more."""

import datetime as dt
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from provisioner.access.revocation import token_revoke
from provisioner.access.tokens import LONGEST, TokenRefused, token_identify
from provisioner.common import clock


class Command(BaseCommand):
    """:raises CommandError: it is no token of ours that has an id."""

    help = (
        "Revoke a token, which stdin holds, or of which --id is the claim jti. Each process "
        "refuses it within 5 s."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--id", help="the token's claim jti")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            token_id, expires_at = self._named(options["id"])
        except TokenRefused as error:
            raise CommandError(f"{error}.") from error
        token_revoke(token_id=token_id, expires_at=expires_at)
        self.stdout.write(f"Revoked {token_id}.")

    def _named(self, token_id: str | None) -> tuple[str, dt.datetime]:
        if token_id is None:
            return token_identify(sys.stdin.readline().strip())
        if not token_id or len(token_id) > 64:
            raise CommandError("--id is the claim jti of a token: 1 to 64 characters.")
        return token_id, clock.now() + LONGEST
