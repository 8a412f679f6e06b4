"""Licences: JWTs that the vendor signs with Ed25519."""

import base64
import datetime as dt

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.db import transaction
from pydantic import AwareDatetime, BaseModel, Field

from events.kinds import Kind
from events.recording import record
from inventory.models import Backend, License, LicenseType
from provisioner.access.secrets import decrypt, encrypt
from provisioner.common import clock
from provisioner.common.results import ProvisionerError, ResultCode
from tasks.models import ACTIVE, Task, TaskType
from tasks.services import task_create
from tasks.submission import task_wait

ALGORITHM = "EdDSA"
ANSWER_SECONDS = 10.0
MOST_BACKENDS = 100_000
DEMO_PUBLIC_KEY = "9tJjvhPmpLNIJ8gzjz+SyFTijPJhKB0NUtcrvv/HlOs="
"""Public key of deploy/demo-license-key.pem. That key is public, so it is accepted only in the
embedded form.
"""


class LicenseInvalid(ProvisionerError):
    """The licence cannot be decoded, has no valid signature of the vendor, or has expired."""

    code = ResultCode.InvalidLicense


class TooFewNodesAccepted(ProvisionerError):
    """Half of the nodes or more did not accept the licence."""

    code = ResultCode.LicenseError


class InstallationActive(ProvisionerError):
    """Another licence is being installed."""

    code = ResultCode.LicenseError


class NoBackendLicensed(ProvisionerError):
    """The licence does not allow one more backend."""

    code = ResultCode.LicenseError


class LicenseTerms(BaseModel):
    """The claims of a licence. Without ``expirationDate`` it does not expire, and without
    ``maxBackends`` it allows any number of backends.
    """

    type: LicenseType
    expirationDate: AwareDatetime | None = None  # noqa: N815 - the claim's name
    maxBackends: int | None = Field(default=None, ge=1, le=MOST_BACKENDS)  # noqa: N815


def license_read(text: str) -> LicenseTerms:
    """Verify a licence and return its terms.

    :raises LicenseInvalid: the text names the broken rule, but does not contain the licence.
    """
    try:
        claims = jwt.decode(text, _vendor_key(), algorithms=[ALGORITHM])
        terms = LicenseTerms.model_validate(claims)
    except jwt.InvalidSignatureError:
        raise LicenseInvalid("the licence is not signed by the vendor of this system") from None
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise LicenseInvalid(
            "the licence cannot be decoded", internal=type(error).__name__
        ) from None
    if terms.expirationDate is not None and terms.expirationDate <= clock.now():
        raise LicenseInvalid(f"the licence expired at {terms.expirationDate.isoformat()}")
    return terms


def license_issue(*, terms: LicenseTerms, key: Ed25519PrivateKey) -> str:
    """Sign a licence with these terms, with the key of the vendor."""
    claims = terms.model_dump(mode="json", exclude_none=True)
    return jwt.encode(claims, key, algorithm=ALGORITHM)


def license_install(*, text: str) -> str:
    """Start a task that puts a licence on all nodes and activates it. Returns the id of the task.
    While this licence is being installed, a repeat waits for the same task.

    :raises LicenseInvalid: the text is not a valid licence.
    :raises InstallationActive: another licence is being installed.
    :raises TaskFailed: LicenseError, if the task fails within ANSWER_SECONDS.
    """
    license_read(text)
    task = _only_task(text)
    task_wait(task_id=task.pk, seconds=ANSWER_SECONDS)
    return task.pk


def _only_task(text: str) -> Task:
    """Return the active task that installs this licence, or a new one. Two licences are never
    installed at the same time, because the task that is faster would be undone by the other one.

    :raises InstallationActive: another licence is being installed.
    """
    with transaction.atomic(durable=True):
        License.objects.select_for_update().get()
        tasks = Task.objects.filter(type=TaskType.INSTALL_LICENSE, state__in=sorted(ACTIVE))
        active = tasks.first()
        if active is None:
            return task_create(type=TaskType.INSTALL_LICENSE, outputs={"license": encrypt(text)})
    if decrypt(active.outputs["license"]) != text:
        raise InstallationActive(
            f"task {active.pk!r} installs another licence: try again when it has ended"
        )
    return active


def license_take_over(*, encrypted_text: str) -> None:
    """Activate this licence. Runs in the last transaction of the task.

    :raises LicenseInvalid: it has expired in the meantime.
    """
    terms = license_read(decrypt(encrypted_text))
    License.objects.update(
        type=terms.type,
        expires_at=terms.expirationDate,
        max_backends=terms.maxBackends,
        encrypted_text=encrypted_text,
    )
    expires_at = _shown(terms.expirationDate) or None
    record(
        Kind.LICENSE_INSTALLED,
        maxBackends=terms.maxBackends or "any number of",
        type=str(terms.type),
        expiresAt=expires_at,
    )


def license_text() -> str:
    """Return the installed licence. Empty: none is installed."""
    stored = License.objects.get().encrypted_text
    return decrypt(stored) if stored else ""


def license_refuse_full(*, lock: bool = False) -> None:
    """Check that one more backend may be added.

    ``lock``: lock the licence, so that no other request adds a backend before the transaction ends.

    :raises NoBackendLicensed: the licence has expired, or ``maxBackends`` is reached.
    """
    rows = License.objects.select_for_update() if lock else License.objects.all()
    current = rows.get()
    if current.is_expired:
        raise NoBackendLicensed(f"the licence expired at {_shown(current.expires_at)}")
    limit = current.max_backends
    if limit is not None and (number := Backend.objects.count()) >= limit:
        raise NoBackendLicensed(
            f"licence limit reached ({number} of {limit} nodes): install a licence for more nodes, "
            "or remove a node"
        )


def vendor_public_key(key: Ed25519PrivateKey) -> str:
    """Return the value of LICENSE_PUBLIC_KEY for the private key of a vendor."""
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def _vendor_key() -> Ed25519PublicKey:
    environment = settings.ENVIRONMENT
    configured = environment.license_public_key
    if not configured and environment.is_embedded:
        configured = DEMO_PUBLIC_KEY
    if not configured:
        raise LicenseInvalid("no key of a vendor is configured: set LICENSE_PUBLIC_KEY")
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(configured))


def _shown(at: dt.datetime | None) -> str:
    return at.astimezone(dt.UTC).isoformat(timespec="seconds") if at else ""
