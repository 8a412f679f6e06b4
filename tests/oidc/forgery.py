"""Tokens that a server did not sign."""

import base64
import json
from collections.abc import Callable
from typing import Any

import jwt


def forge(how: str, claims: dict[str, Any], public: str, stranger: Any) -> str:
    """Return a token that the server with the key ``public`` did not sign."""
    if how == "HS256":
        header = _segment({"alg": "HS256", "typ": "JWT", "kid": "k1"})
        signed = f"{header}.{_segment(claims)}"
        signature = jwt.get_algorithm_by_name("HS256")
        return f"{signed}.{_encode(signature.sign(signed.encode(), public.encode()))}"
    ways: dict[str, Callable[[], str]] = {
        "none": lambda: f"{_segment({'alg': 'none', 'kid': 'k1'})}.{_segment(claims)}.",
        "foreign": lambda: jwt.encode(claims, stranger, "RS256", {"kid": "k1"}),
        "kid": lambda: jwt.encode(claims, stranger, "RS256", {"kid": "k2"}),
        "no kid": lambda: jwt.encode(claims, stranger, "RS256"),
        "text": lambda: "no.token.at.all",
    }
    return ways[how]()


def _segment(content: dict[str, Any]) -> str:
    return _encode(json.dumps(content).encode())


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
