"""Encryption at rest of what must be read back: client secrets, licence keys, passwords of others.

Fernet (AES-128-CBC with HMAC-SHA256): what was changed in the database is refused, never misread.
"""

import base64
import hashlib
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class UnreadableSecret(Exception):
    """None of the keys fits a stored secret, or it was changed: see setting DATA_KEYS."""


def encrypt(text: str) -> str:
    """``text`` as it may be stored: ASCII, 4/3 its size and 100 characters more."""
    return _cipher().encrypt(text.encode()).decode()


def decrypt(stored: str) -> str:
    """What :func:`encrypt` was given.

    :raises UnreadableSecret: no key of DATA_KEYS fits.
    """
    try:
        return _cipher().decrypt(stored).decode()
    except (InvalidToken, ValueError) as error:
        raise UnreadableSecret(
            "a stored secret cannot be read with any key of DATA_KEYS (default: SECRET_KEY); add "
            "the key it was stored with, or set the secret anew"
        ) from error


def _cipher() -> MultiFernet:
    keys = [key.get_secret_value() for key in settings.ENVIRONMENT.data_keys]
    return _cipher_of(tuple(keys or [settings.SECRET_KEY]))


@lru_cache(maxsize=8)
def _cipher_of(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(_fernet_key(key)) for key in keys])


def _fernet_key(key: str) -> bytes:
    """A key of its own, made from a long random text: SECRET_KEY also signs tokens."""
    digest = hashlib.blake2b(key.encode(), digest_size=32, person=b"data at rest").digest()
    return base64.urlsafe_b64encode(digest)
