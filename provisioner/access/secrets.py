"""Encrypts secrets that must be read back: client secrets, licences, tokens of nodes.

Uses Fernet (AES-128-CBC with HMAC-SHA256), so a value that was changed in the database is refused.
"""

import base64
import hashlib
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class UnreadableSecret(Exception):
    """No key of DATA_KEYS fits a stored secret, or the secret was changed."""


def encrypt(text: str) -> str:
    """Encrypt ``text`` for storage. The result is ASCII and has 4/3 of its size plus 100
    characters.
    """
    return _cipher().encrypt(text.encode()).decode()


def decrypt(stored: str) -> str:
    """Decrypt a result of :func:`encrypt`.

    :raises UnreadableSecret: no key of DATA_KEYS fits.
    """
    try:
        return _cipher().decrypt(stored).decode()
    except (InvalidToken, ValueError) as error:
        raise UnreadableSecret(
            "a stored secret cannot be decrypted with any key of DATA_KEYS (default: SECRET_KEY): "
            "add the key that encrypted it, or set the secret again"
        ) from error


def _cipher() -> MultiFernet:
    keys = [key.get_secret_value() for key in settings.ENVIRONMENT.data_keys]
    return _cipher_of(tuple(keys or [settings.SECRET_KEY]))


@lru_cache(maxsize=8)
def _cipher_of(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(_fernet_key(key)) for key in keys])


def _fernet_key(key: str) -> bytes:
    """Derive a separate key from the text, because SECRET_KEY also signs tokens."""
    digest = hashlib.blake2b(key.encode(), digest_size=32, person=b"data at rest").digest()
    return base64.urlsafe_b64encode(digest)
