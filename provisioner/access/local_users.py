"""Local users: Django's users, with roles from their groups."""

import hashlib
import hmac
import secrets
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import check_password, make_password

from provisioner.access.login_attempts import login_checked, login_turn
from provisioner.access.principals import Caller, Role

_KEY = secrets.token_bytes(32)
_CACHE_SIZE = 4096
_verified: set[bytes] = set()
"""HMACs of the passwords that this process verified, each with the user's password hash. A new
password changes the hash, so the old password is no longer found here.
"""


def user_verify(name: str, password: str, *, source: str = "") -> Caller | None:
    """Return the caller with this name and password. None: they are wrong, or the user is inactive.

    Makes one indexed query. The slow hash is computed once for each password and process. An
    unknown name takes as long as a wrong password, so timing does not reveal names. ``source``: the
    address that the password comes from.

    :raises TooManyLogins: too many wrong passwords for this name or from this address. A password
        that this process verified before is never refused.
    """
    rows = list(
        get_user_model()
        .objects.filter(username=name)
        .values_list("password", "is_active", "is_superuser", "binding__tenant_id", "groups__name")
    )
    encoded, active, superuser, tenant, _ = rows[0] if rows else ("", False, False, None, None)
    proof = hmac.digest(_KEY, f"{encoded}\0{password}".encode(), hashlib.sha256)
    if proof not in _verified:
        with login_turn(source):
            known = proof in _verified  # a parallel request may have verified it
            if not known and not login_checked(
                name, source, partial(_matches, password, encoded, proof)
            ):
                return None
    if not active:
        return None
    return _caller(name, superuser, tenant, {group for *_, group in rows})


def user_caller(user: Any) -> Caller:
    """Return the caller for a user who is logged in to the console.

    The caller has the roles of the user. A superuser has only ADMIN, which includes all rights. The
    roles are read once for each request.
    """
    if not hasattr(user, "_caller"):
        name = user.get_username()
        if user.is_superuser:
            user._caller = _caller(name, True, None, set())
        else:
            rows = get_user_model().objects.filter(pk=user.pk)
            found = list(rows.values_list("binding__tenant_id", "groups__name"))
            tenant = found[0][0] if found else None
            user._caller = _caller(name, False, tenant, {group for _, group in found})
    caller: Caller = user._caller
    return caller


def _caller(name: str, superuser: bool, tenant: str | None, groups: set[str | None]) -> Caller:
    """Build the caller. A superuser is not bound to a tenant, because superusers manage users."""
    held = {role for role in Role if role in groups}
    if superuser:
        return Caller(name, frozenset(held | {Role.ADMIN}), user=name)
    return Caller(name, frozenset(held), tenant_id=tenant, user=name)


def _matches(password: str, encoded: str, proof: bytes) -> bool | None:
    """True if the password is right; its proof is then remembered. Otherwise None."""
    if not encoded:
        make_password(password)
        return None
    if not check_password(password, encoded):
        return None
    if len(_verified) >= _CACHE_SIZE:
        _verified.clear()
    _verified.add(proof)
    return True
