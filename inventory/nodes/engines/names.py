"""Names that hosts see. They are the same for every engine."""

import uuid as uuids
from hashlib import sha256

MODEL = "Provisioner"
"""The model that targets report to hosts."""

NAMESPACE = uuids.UUID("6d5f1bd4-6b0e-5a0c-9a52-1f1a3c7f9c0e")


def serial_number(name: str) -> str:
    """The serial number of a target, derived from ``name``."""
    return digest(name)[:20].upper()


def namespace_uuid(uuid: str) -> str:
    """The volume's uuid if it is in RFC 9562 format, else a UUIDv5 derived from it."""
    try:
        if str(uuids.UUID(uuid)) == uuid:
            return uuid
    except ValueError:
        pass
    return str(uuids.uuid5(NAMESPACE, uuid))


def piece_uuid(uuid: str, place: int) -> str:
    """The namespace uuid of one piece of a volume that is exported by piece."""
    return namespace_uuid(f"{uuid}/{place}")


def digest(text: str) -> str:
    """The SHA-256 digest of the text, in hexadecimal."""
    return sha256(text.encode()).hexdigest()
