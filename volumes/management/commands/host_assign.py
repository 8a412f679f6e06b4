"""``manage.py host_assign``: choose which tenant's volumes a host may use."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from inventory.services.hosts import host_assign
from volumes.models import Tenant


class Command(BaseCommand):
    """Assign a host to a tenant, or to all tenants.

    :raises CommandError: there is no such host or tenant.
    """

    help = (
        "Allow a host to use only the volumes of one tenant, or those of all tenants again. "
        "Volumes that are published to it stay published."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("host", help="hostId")
        parser.add_argument("--tenant", help="tenantId; default: all tenants")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = options["tenant"]
        if tenant is not None and not Tenant.objects.filter(pk=tenant).exists():
            raise CommandError(f"There is no tenant {tenant!r}.")
        if not host_assign(uuid=options["host"], tenant_id=tenant or ""):
            raise CommandError(f"There is no host {options['host']!r}.")
        whose = f"tenant {tenant}" if tenant else "all tenants"
        self.stdout.write(f"Host {options['host']} may use volumes of {whose}.")
