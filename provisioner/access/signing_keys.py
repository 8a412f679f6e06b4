"""The keys with which an authorization server signs tokens: one public key, or a JWK set."""

import base64
import binascii
import logging
import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from provisioner.access.http_fetch import FetchFailed, fetch_json
from provisioner.common.database import release_connection

log = logging.getLogger(__name__)

SMALLEST_RSA_BITS = 2048
RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
EC_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
REFETCH_SECONDS = 5.0
PAUSE_FACTOR = 9
FRESH_SECONDS = 300.0
USABLE_SECONDS = 3600.0


class KeysUnreadable(Exception):
    """There is no key that can verify a token. The text gives the reason, and may be shown."""


@dataclass(frozen=True)
class SigningKey:
    """A public key, and the only algorithms for which it may be used. So a token cannot choose a
    weak algorithm.
    """

    key: RSAPublicKey | EllipticCurvePublicKey
    algorithms: tuple[str, ...]
    kid: str | None = None


class Keys(Protocol):
    def candidates(self, kid: str | None) -> list[SigningKey]:
        """Return the keys that may have signed a token with this ``kid`` in its header. None: the
        header names no key.

        :raises KeysUnreadable: there are no keys at all.
        """


def signing_key(key: object, *, kid: str | None = None, algorithm: str | None = None) -> SigningKey:
    """Return a public key with the algorithms that it may verify. ``algorithm`` limits them to one.

    :raises ValueError: the key is neither RSA of 2048 bits or more, nor on P-256, P-384 or P-521;
        or it does not support ``algorithm``.
    """
    allowed: tuple[str, ...] = ()
    if isinstance(key, RSAPublicKey) and key.key_size >= SMALLEST_RSA_BITS:
        allowed = RSA_ALGORITHMS
    elif isinstance(key, EllipticCurvePublicKey) and key.curve.name in EC_ALGORITHMS:
        allowed = (EC_ALGORITHMS[key.curve.name],)
    if algorithm is not None:
        allowed = tuple(name for name in allowed if name == algorithm)
    if not allowed or not isinstance(key, RSAPublicKey | EllipticCurvePublicKey):
        raise ValueError("must be RSA of 2048 bits or more, or EC on P-256, P-384 or P-521")
    return SigningKey(key, allowed, kid)


@lru_cache(maxsize=8)
def public_key(text: str) -> SigningKey:
    """Read a key in PEM, or as base64 without header, as Keycloak shows it.

    :raises ValueError: the text is no such key.
    """
    try:
        if text.lstrip().startswith("-----BEGIN"):
            return signing_key(load_pem_public_key(text.strip().encode()))
        der = base64.b64decode("".join(text.split()), validate=True)
        return signing_key(load_der_public_key(der))
    except (binascii.Error, UnsupportedAlgorithm, UnicodeError) as error:
        raise ValueError("must be a public key in PEM or base64") from error


@dataclass(frozen=True)
class OneKey:
    """The configured key of a server that signs with one key only."""

    text: str

    def candidates(self, kid: str | None) -> list[SigningKey]:
        try:
            return [public_key(self.text)]
        except ValueError as error:
            raise KeysUnreadable(f"the public key {error}") from error


class JwkSet:
    """The keys that a server publishes. They are read again when they are old, or when a token
    names an unknown key.

    A request with a known key never waits. When the keys are older than FRESH_SECONDS, one thread
    reads them again while the other threads still use them. If the server does not answer, they are
    used for USABLE_SECONDS at most.

    Reads are at least REFETCH_SECONDS apart, whatever keys tokens name. After a failure, the pause
    is at least PAUSE_FACTOR times as long as the failed read took: 45 s if the server hangs. Until
    a read succeeds, only the thread that reads waits, so a server that hangs holds one thread for a
    tenth of the time.
    """

    def __init__(self, url: str, ca: str = "") -> None:
        self._url = url
        self._ca = ca
        self._keys: list[SigningKey] = []
        self._read_at = self._next_read_at = float("-inf")
        self._failure = ""
        self._lock = threading.Lock()

    def candidates(self, kid: str | None) -> list[SigningKey]:
        found = self._named(kid) if self._age() < USABLE_SECONDS else []
        if found and self._age() < FRESH_SECONDS:
            return found
        release_connection()
        # do not wait for another thread that reads the keys if it may be in vain
        if self._lock.acquire(blocking=not found and not self._failure):
            try:
                if not self._named(kid) or self._age() >= FRESH_SECONDS:
                    self._refetch()
            finally:
                self._lock.release()
        if not self._keys or self._age() >= USABLE_SECONDS:
            raise KeysUnreadable(f"no keys can be read from {self._url}: {self._failure}")
        return self._named(kid)

    def _age(self) -> float:
        return time.monotonic() - self._read_at

    def _named(self, kid: str | None) -> list[SigningKey]:
        return [key for key in self._keys if kid is None or key.kid == kid]

    def _refetch(self) -> None:
        began = time.monotonic()
        if began < self._next_read_at:
            return
        pause = REFETCH_SECONDS
        try:
            self._keys = _keys_in(fetch_json(self._url, ca=self._ca))
            self._read_at, self._failure = time.monotonic(), ""
        except FetchFailed as error:
            self._failure = str(error)
            pause = max(pause, PAUSE_FACTOR * (time.monotonic() - began))
            log.warning(
                "the JWK set cannot be read", extra={"url": self._url, "reason": str(error)}
            )
        finally:
            self._next_read_at = time.monotonic() + pause


def _keys_in(answer: dict[str, object]) -> list[SigningKey]:
    """Return the keys of a JWK set.

    :raises FetchFailed: it contains no key that can verify a signature.
    """
    listed = answer.get("keys")
    found = [_key_in(entry) for entry in listed] if isinstance(listed, list) else []
    keys = [key for key in found if key is not None]
    if not keys:
        raise FetchFailed("it contains no RSA or EC key for signatures")
    return keys


def _key_in(entry: object) -> SigningKey | None:
    """Return the key. None: it is for encryption, symmetric, too short, or of an unknown type."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    kid, algorithm = entry.get("kid"), entry.get("alg")
    try:
        return signing_key(
            jwt.PyJWK(entry).key,
            kid=kid if isinstance(kid, str) else None,
            algorithm=algorithm if isinstance(algorithm, str) else None,
        )
    except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError):
        return None


def keys_new(*, public_key: str = "", jwk_set_url: str = "", ca: str = "") -> Keys:
    """Return the keys of a server from one of the two sources. A JWK set is read at its first
    use.
    """
    return OneKey(public_key) if public_key else JwkSet(jwk_set_url, ca)


keys_shared = lru_cache(maxsize=4)(keys_new)
"""The same for all requests of this process."""
