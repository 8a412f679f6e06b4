"""The keys with which an authorization server signs tokens: one public key, or a JWK set."""

import base64
import binascii
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

SMALLEST_RSA_BITS = 2048
RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
EC_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


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

    def trusts(self, key: SigningKey) -> bool:
        """Whether a token that this key signed is still accepted, as far as this process knows.
        Reads nothing.
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

    def trusts(self, key: SigningKey) -> bool:
        return key in self.candidates(None)
