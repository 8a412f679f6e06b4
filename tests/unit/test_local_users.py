"""Passwords are hashed once in each process, and the memory for this is limited."""

from typing import Any, ClassVar

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from provisioner.access import local_users
from provisioner.access.local_users import user_verify

pytestmark = pytest.mark.django_db


class CountingHasher(PBKDF2PasswordHasher):
    """Django's hasher that counts its hashes."""

    hashed: ClassVar[list[str]] = []
    iterations = 1000

    def encode(self, password: str, *args: Any, **kwargs: Any) -> str:
        self.hashed.append(password)
        return super().encode(password, *args, **kwargs)


@pytest.fixture
def hashed(settings):
    settings.PASSWORD_HASHERS = ["tests.unit.test_local_users.CountingHasher"]
    local_users._verified.clear()
    user = get_user_model().objects.create_user("op", password="right")
    CountingHasher.hashed.clear()
    yield CountingHasher.hashed
    user.delete()


def test_a_right_password_is_hashed_once(hashed, django_assert_num_queries):
    for _ in range(3):
        with django_assert_num_queries(1):
            assert user_verify("op", "right") is not None
    assert hashed == ["right"]


def test_a_wrong_password_is_hashed_each_time(hashed):
    for _ in range(3):
        assert user_verify("op", "wrong") is None
    assert hashed == ["wrong"] * 3


def test_an_unknown_name_is_hashed_like_a_wrong_password(hashed):
    assert user_verify("nobody", "wrong") is None
    assert hashed == ["wrong"]


def test_a_changed_password_is_hashed_again(hashed):
    user = get_user_model().objects.get()
    assert user_verify("op", "right") is not None
    user.set_password("right")
    user.save()
    hashed.clear()
    assert user_verify("op", "right") is not None
    assert hashed == ["right"]


def test_the_number_of_remembered_passwords_is_bounded(hashed, monkeypatch):
    monkeypatch.setattr(local_users, "_CACHE_SIZE", 3)
    for number in range(8):
        name = f"user{number}"
        get_user_model().objects.create_user(name, password=name)
        assert user_verify(name, name) is not None
        assert len(local_users._verified) <= 3


def test_no_password_is_kept_in_plain_text(hashed):
    user_verify("op", "right")
    [proof] = local_users._verified
    assert len(proof) == 32
    assert b"right" not in proof
