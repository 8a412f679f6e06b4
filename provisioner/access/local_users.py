"""Local users: Django's own, with roles from their groups."""

import hashlib
import hmac
import secrets
from functools import partial

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import check_password, make_password

from provisioner.access.login_attempts import login_checked, login_turn
from provisioner.access.principals import Caller, Role

_KEY = secrets.token_bytes(32)
_CACHE_SIZE = 4096
_verified: set[bytes] = set()
"""HMACs of what was verified in this process: a user's current password hash and the password.

A changed password changes its hash, so that the old one is not found here any more.
"""


def user_verify(name: str, password: str, *, source: str = "") -> Caller | None:
    """The caller of a name and password; None if they are wrong or the user is inactive.

    One indexed query. The slow hash is paid once for each password and process; an unknown name
    costs as much as a wrong password, so that timing tells no names. ``source``: the address that
    the password comes from.

    :raises TooManyLogins: too many wrong passwords of this name or from there; a password that was
        verified in this process before is not refused.
    """
    rows = list(
        get_user_model()
        .objects.filter(username=name)
        .values_list("password", "is_active", "is_superuser", "groups__name")
    )
    encoded, active, superuser, _ = rows[0] if rows else ("", False, False, None)
    proof = hmac.digest(_KEY, f"{encoded}\0{password}".encode(), hashlib.sha256)
    if proof not in _verified:
        with login_turn(source):
            known = proof in _verified  # who came at the same moment may have verified it
            if not known and not login_checked(
                name, source, partial(_matches, password, encoded, proof)
            ):
                return None
    if not active:
        return None
    groups = {group for *_, group in rows}
    held = {role for role in Role if role in groups}
    return Caller(name, frozenset(held | ({Role.ADMIN} if superuser else set())))


def _matches(password: str, encoded: str, proof: bytes) -> bool | None:
    """True, which is remembered by its proof, or None."""
    if not encoded:
        make_password(password)
        return None
    if not check_password(password, encoded):
        return None
    if len(_verified) >= _CACHE_SIZE:
        _verified.clear()
    _verified.add(proof)
    return True
