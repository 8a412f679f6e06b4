"""The keys that an authorization server publishes as a JWK set."""

import logging
import threading
import time
from functools import lru_cache

import jwt

from provisioner.access.http_fetch import FetchFailed, fetch_json
from provisioner.access.signing_keys import Keys, KeysUnreadable, OneKey, SigningKey, signing_key
from provisioner.common.database import release_connection

REFETCH_SECONDS = 5.0
PAUSE_FACTOR = 9
FRESH_SECONDS = 300.0
USABLE_SECONDS = 3600.0
DUE_SECONDS = 1.0
WAIT_SECONDS = 1.0
"""Longest wait for another thread that reads the keys for the first time."""

log = logging.getLogger(__name__)


class JwkSet:
    """The keys that a server publishes. They are read again when they are old, or when a token
    names an unknown key.

    A request with a known key never waits. When the keys are older than FRESH_SECONDS, one thread
    reads them again while the other threads still use them. If the server does not answer, they are
    used for USABLE_SECONDS at most.

    Reads are at least REFETCH_SECONDS apart, whatever keys tokens name. After a failure, the pause
    is at least PAUSE_FACTOR times as long as the failed read took: 45 s if the server hangs. Until
    a read succeeds, other threads wait for the first one for WAIT_SECONDS at most, and for later
    ones not at all. So a server that hangs holds one thread for a tenth of the time.
    """

    def __init__(self, url: str, ca: str = "") -> None:
        self._url = url
        self._ca = ca
        self._keys: list[SigningKey] = []
        self._read_at = self._next_read_at = self._next_due_at = float("-inf")
        self._failure = ""
        self._lock = threading.Lock()

    def candidates(self, kid: str | None) -> list[SigningKey]:
        found = self._named(kid) if self._age() < USABLE_SECONDS else []
        if found and self._age() < FRESH_SECONDS:
            return found
        release_connection()
        # do not wait for another thread that reads the keys if it may be in vain
        must_wait = not found and not self._failure
        has_lock = self._lock.acquire(timeout=WAIT_SECONDS if must_wait else 0)
        if has_lock:
            try:
                if not self._named(kid) or self._age() >= FRESH_SECONDS:
                    self._refetch()
            finally:
                self._lock.release()
        named = self._named(kid)
        is_unknown = not named and not has_lock  # the key may be among those being read
        if is_unknown or not self._keys or self._age() >= USABLE_SECONDS:
            reason = self._failure or "another call is reading them"
            raise KeysUnreadable(f"no keys can be read from {self._url}: {reason}")
        return named

    def trusts(self, key: SigningKey) -> bool:
        """See :class:`Keys`. False once per DUE_SECONDS while the keys are old, so that a token is
        verified, which reads them again.
        """
        age, now = self._age(), time.monotonic()
        if age >= FRESH_SECONDS and now >= self._next_due_at:
            self._next_due_at = now + DUE_SECONDS
            return False
        return age < USABLE_SECONDS and key in self._keys

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
