"""Gets tokens by OAuth 2.0 client credentials (RFC 6749, section 4.4).

Imports no Django, because the agents on storage nodes use it too.
"""

from dataclasses import dataclass, field
from typing import Any

from provisioner.access.http_fetch import FetchFailed, fetch_json

DEFAULT_LIFE_SECONDS = 60.0
LONGEST_LIFE_SECONDS = 86_400.0
LONGEST_TOKEN = 65_536


@dataclass(frozen=True)
class IssuedToken:
    """A token, and the number of seconds from now for which it is valid according to the server."""

    text: str = field(repr=False)
    life_seconds: float


def token_fetch(
    token_url: str, *, client_id: str, client_secret: str, scope: str = "", ca: str = ""
) -> IssuedToken:
    """Get a new token for the client. The secret is sent in the form, which Keycloak and ADFS
    accept.

    :raises FetchFailed: the server returned no token within 5 s.
    """
    form = {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "client_secret": client_secret,
    }
    answer = fetch_json(token_url, form=form | ({"scope": scope} if scope else {}), ca=ca)
    token = answer.get("access_token")
    if not isinstance(token, str) or not _fits_a_header(token):
        raise FetchFailed("its answer contains no usable access_token")
    return IssuedToken(token, _life(answer.get("expires_in")))


def _fits_a_header(token: str) -> bool:
    return 0 < len(token) <= LONGEST_TOKEN and token.isascii() and token.isprintable()


def _life(expires_in: Any) -> float:
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float):
        return DEFAULT_LIFE_SECONDS
    return float(max(0.0, min(expires_in, LONGEST_LIFE_SECONDS)))
