"""``manage.py token_create``: print a token for a script or a service."""

import datetime as dt
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events.kinds import Kind
from events.recording import record
from provisioner.access.principals import Role, WrongBinding
from provisioner.access.tokens import LONGEST, SHORTEST, bindings_check, token_issue


class Command(BaseCommand):
    """Prints only the token.

    :raises CommandError: an argument breaks its rule.
    """

    help = "Issue a token and print it. `token_revoke` revokes it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--name", required=True, help="name of the user of the token; shown in logs"
        )
        parser.add_argument(
            "--role", required=True, action="append", choices=list(Role), dest="roles"
        )
        parser.add_argument(
            "--tenant", help="the tenant whose objects the token can access; default: all tenants"
        )
        parser.add_argument("--node", help="persistentID of the node, for the role NODE")
        parser.add_argument(
            "--host",
            help="hostId of the host, for the role HOST: the token is valid only for this host",
        )
        parser.add_argument(
            "--expiration", type=int, required=True, help="seconds: 1 hour to 30 days"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        seconds = options["expiration"]
        if not SHORTEST.total_seconds() <= seconds <= LONGEST.total_seconds():
            raise CommandError("--expiration must be 3600 (1 hour) to 2592000 (30 days).")
        roles = {Role(role) for role in options["roles"]}
        bindings = {
            "tenant_id": options["tenant"],
            "node_id": options["node"],
            "host_id": options["host"],
        }
        try:
            bindings_check(roles, **bindings)
        except WrongBinding as error:
            raise CommandError(f"--{error}.") from error
        token, _ = token_issue(
            name=options["name"],
            roles=roles,
            **bindings,
            lifetime=dt.timedelta(seconds=seconds),
        )
        record(
            Kind.TOKENS_ISSUED, count=1, user=options["name"], roles=sorted(roles), seconds=seconds
        )
        self.stdout.write(token)
