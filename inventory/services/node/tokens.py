"""The tokens that nodes without mutual TLS demand of the provisioner. Each node has one, which is
stored encrypted.
"""

import hashlib
import logging
from typing import TypedDict

from inventory.models import Backend
from provisioner.access.secrets import UnreadableSecret, decrypt, encrypt

log = logging.getLogger(__name__)


class TokenColumns(TypedDict):
    """The columns of a backend for its token."""

    encrypted_token: str
    token_digest: str


def token_columns(node_token: str | None) -> TokenColumns:
    """Return the columns for the token of a node. They are empty if it has none."""
    if not node_token:
        return {"encrypted_token": "", "token_digest": ""}
    digest = hashlib.sha256(node_token.encode()).hexdigest()
    return {"encrypted_token": encrypt(node_token), "token_digest": digest}


def node_token(backend: Backend) -> str:
    """Return the token that this node demands. "": it demands none. If the stored token cannot be
    decrypted, this is logged and "" is returned.
    """
    if not backend.encrypted_token:
        return ""
    try:
        return decrypt(backend.encrypted_token)
    except UnreadableSecret as error:
        log.error("the token of a node cannot be decrypted", extra={"reason": str(error)})
        return ""
