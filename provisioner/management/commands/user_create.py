"""``manage.py user_create``: create a local user with roles, without prompts.

Users with MONITOR or ADMIN may also log in to the console. Django's ``createsuperuser`` creates
users that may create and change users there.
"""

import os
import sys
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError, transaction

from events.kinds import Kind
from events.recording import record
from provisioner.access.models import UserTenant
from provisioner.access.principals import Role, WrongBinding, bindings_check_empty

SEE_PAGES = {Role.MONITOR, Role.ADMIN}
VARIABLE = "USER_PASSWORD"


class Command(BaseCommand):
    """Reads the password from the environment or from stdin, because all users see arguments.

    :raises CommandError: the name is taken, the password too weak, one of them is malformed, or
        the tenant is empty.
    """

    help = f"Create a local user. The password is {VARIABLE}, or the first line of stdin."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument(
            "--role", required=True, action="append", choices=list(Role), dest="roles"
        )

        parser.add_argument(
            "--tenant", help="the tenant whose objects the user can access; default: all tenants"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        password = os.environ.get(VARIABLE) or sys.stdin.readline().rstrip("\r\n")
        on_pages = bool(SEE_PAGES.intersection(options["roles"]))
        tenant = options["tenant"]
        user = get_user_model()(username=options["name"], is_staff=on_pages)
        try:
            bindings_check_empty(tenant=tenant)
            user.clean_fields(exclude=["password"])
            validate_password(password, user)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        except WrongBinding as error:
            raise CommandError(f"--{error}.") from error
        user.set_password(password)
        try:
            with transaction.atomic(durable=True):
                user.save(force_insert=True)
                roles = [Group.objects.get_or_create(name=role)[0] for role in options["roles"]]
                user.groups.set(roles)
                if tenant is not None:
                    UserTenant.objects.create(user=user, tenant_id=tenant)
                record(Kind.USER_CREATED, user=options["name"], roles=sorted(options["roles"]))
        except IntegrityError as error:
            raise CommandError(f"A user {options['name']} already exists.") from error
        self.stderr.write(f"Created user {options['name']}.")
