"""``manage.py rotate_data_keys``: encrypts all stored secrets again."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from inventory.models import Backend, License
from provisioner.access.models import AuthorizationServer
from provisioner.access.secrets import UnreadableSecret, decrypt, encrypt
from tasks.models import ACTIVE, Task, TaskType

STORED = (
    (License, ("encrypted_text",)),
    (Backend, ("encrypted_token",)),
    (AuthorizationServer, ("provisioner_client_secret", "backends_client_secret")),
)


class Command(BaseCommand):
    """Encrypts all stored secrets with the first key of DATA_KEYS. It may be run again.

    :raises CommandError: a licence is being installed, or a secret cannot be read. Nothing changes.
    """

    help = (
        "Encrypt all stored secrets with the first key of DATA_KEYS, which every process must "
        "know. docs/how-to/rotate-keys.md has all steps."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        active = Task.objects.filter(type=TaskType.INSTALL_LICENSE, state__in=sorted(ACTIVE))
        try:
            with transaction.atomic(durable=True):
                count = sum(_encrypt_anew(model, fields) for model, fields in STORED)
                if active.exists():
                    raise CommandError("a licence is being installed: run this again afterwards")
        except UnreadableSecret as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{count} secrets encrypted with the first key of DATA_KEYS")


def _encrypt_anew(model: Any, fields: tuple[str, ...]) -> int:
    count = 0
    for row in model.objects.select_for_update():
        stored = {name: getattr(row, name) for name in fields if getattr(row, name)}
        fresh = {name: encrypt(decrypt(text)) for name, text in stored.items()}
        model.objects.filter(pk=row.pk).update(**fresh)
        count += len(fresh)
    return count
