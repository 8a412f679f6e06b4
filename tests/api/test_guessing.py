"""Passwords cannot be guessed, and guessing does not delay other callers."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from pydantic import SecretStr

from provisioner.access import login_attempts
from provisioner.access.local_users import user_verify
from provisioner.access.login_attempts import TooManyLogins
from tests.api.wire import basic, refused, send

pytestmark = pytest.mark.django_db(transaction=True)

LIMIT = 10
DEAD_REDIS = "redis://127.0.0.1:1/0"


class SlowHasher(PBKDF2PasswordHasher):
    """A password hasher that is as slow as in production. It counts concurrent hashes."""

    iterations = 1000
    running = most = total = 0
    _lock = threading.Lock()

    def encode(self, *args: Any, **kwargs: Any) -> str:
        with SlowHasher._lock:
            SlowHasher.running += 1
            SlowHasher.total += 1
            SlowHasher.most = max(SlowHasher.most, SlowHasher.running)
        try:
            threading.Event().wait(0.2)
            return super().encode(*args, **kwargs)
        finally:
            with SlowHasher._lock:
                SlowHasher.running -= 1


@pytest.fixture
def hasher(settings):
    settings.PASSWORD_HASHERS = ["tests.api.test_guessing.SlowHasher"]
    SlowHasher.running = SlowHasher.most = SlowHasher.total = 0
    return SlowHasher


@pytest.fixture
def get(live_server):
    return lambda headers: send(live_server.url, "GET", "/tasks", headers=headers)


@pytest.fixture(params=["shared", "redis is down"])
def counts(request, settings):
    """Run the test with counts in Redis, and without Redis."""
    if request.param != "shared":
        settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(
            update={"broker_url": SecretStr(DEAD_REDIS)}
        )


def test_guessing_is_answered_429_without_hashing(get, make_user, counts):
    good = make_user("op", "right password", "ADMIN")
    for _ in range(LIMIT):
        refused(get(basic("op", "wrong")), 401, "Unauthorized")
    answer = get(basic("op", "wrong"))
    assert "too many failed logins" in refused(answer, 429, "TooManyRequests")
    assert 290 <= int(answer.headers["Retry-After"]) <= 300
    assert get(good).http == 429, "also the right one, while it was not verified before"
    assert get(basic("other", "wrong")).http == 401, "other names go on"


def test_a_caller_that_was_verified_before_is_not_locked_out(get, make_user):
    good = make_user("op", "right password", "ADMIN")
    assert get(good).http == 200
    for _ in range(LIMIT + 1):
        answer = get(basic("op", "wrong"))
    assert answer.http == 429
    assert get(good).http == 200


def test_a_right_password_resets_the_count_of_failures(make_user):
    make_user("op", "right password", "ADMIN")
    for _ in range(3):
        for _ in range(LIMIT - 1):
            assert user_verify("op", "wrong", source="192.0.2.1") is None
        login_attempts.login_checked("op", "192.0.2.1", lambda: True)


@pytest.mark.parametrize(
    "who",
    [lambda n: ("op", f"192.0.2.{n}"), lambda n: (f"name-{n}", "192.0.2.1")],
    ids=["of one name from everywhere", "of all names from one address"],
)
def test_too_many_failures_of_one_name_or_one_address_are_refused(who, counts):
    for number in range(LIMIT * login_attempts.WIDE_LIMIT_FACTOR):
        name, source = who(number)
        assert login_attempts.login_checked(name, source, lambda: None) is None
    name, source = who(1000)
    with pytest.raises(TooManyLogins):
        login_attempts.login_checked(name, source, lambda: None)


def test_right_passwords_do_not_count_against_a_name_that_logs_in_from_everywhere(counts):
    for number in range(LIMIT * login_attempts.WIDE_LIMIT_FACTOR + 2):
        assert login_attempts.login_checked("op", f"192.0.2.{number}", lambda: True)


def test_a_count_that_is_taken_back_after_its_window_is_not_kept_for_ever():
    shared, name = login_attempts._shared(), f"{login_attempts.PREFIX}ended"
    assert shared is not None
    shared.forget(f"{name}:192.0.2.1", [name])
    assert 0 < shared._redis.ttl(name) <= 60


def test_processes_share_the_counts_of_failures(make_user):
    """The counts are in Redis, and each process has its own client."""
    for number in range(LIMIT):
        login_attempts._of.cache_clear()
        assert login_attempts.login_checked("op", "192.0.2.1", lambda: None) is None, number
    login_attempts._of.cache_clear()
    login_attempts._own._counts.clear()
    with pytest.raises(TooManyLogins):
        login_attempts.login_checked("op", "192.0.2.1", lambda: None)


def test_hashing_leaves_threads_to_other_requests(live_server, make_user, hasher):
    """64 clients with different names guess at once: few hash, and other requests do not wait."""
    answers: list[int] = []

    def guess(number: int) -> None:
        answer = send(live_server.url, "GET", "/tasks", headers=basic(f"u{number}", "x"))
        answers.append(answer.http)

    threads = [threading.Thread(target=guess, args=(n,)) for n in range(64)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(answers) == {401, 429}
    assert len(answers) == 64
    assert hasher.most <= login_attempts.HASHED_AT_ONCE
    assert answers.count(401) == hasher.total
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("names", [1, 16], ids=["of one name", "of names of their own"])
def test_many_callers_with_right_passwords_can_log_in_at_once(get, make_user, hasher, names):
    """Their passwords were not verified before, and all come from one address."""
    users = [make_user(f"u{n}", "right password", "ADMIN") for n in range(names)]
    hasher.total = 0
    with ThreadPoolExecutor(16) as callers:
        answers = list(callers.map(lambda n: get(users[n % names]), range(16)))
    assert [answer.http for answer in answers] == [200] * 16
    assert hasher.total == names, "each password is hashed once"


def test_an_address_that_guesses_does_not_delay_other_addresses(hasher):
    """An address gets only one of the two concurrent hashes, however many it requests."""
    goes_on, begun, answers = threading.Event(), threading.Semaphore(0), []

    def slow():
        begun.release()
        goes_on.wait(30)

    def guess(number):
        with login_attempts.login_turn("192.0.2.1"):
            answers.append(login_attempts.login_checked(f"u{number}", "192.0.2.1", slow))

    with ThreadPoolExecutor(8) as guessers:
        list(guessers.map(lambda n: guessers.submit(guess, n), range(4)))
        assert begun.acquire(timeout=30)
        with login_attempts.login_turn("192.0.2.2"):
            assert login_attempts.login_checked("op", "192.0.2.2", lambda: True)
        assert not answers
        goes_on.set()
    assert answers == [None] * 4


def test_the_counts_of_a_process_are_bounded(monkeypatch):
    monkeypatch.setattr(login_attempts, "MAX_KEYS", 30)
    own = login_attempts._Own()
    for number in range(200):
        own.count([f"key-{number}"], 300)
    assert len(own._counts) <= 31


def test_the_count_restarts_when_the_window_has_ended():
    own = login_attempts._Own()
    assert own.count(["k"], 300)["k"][0] == 1
    assert own.count(["k"], 300)["k"][0] == 2
    own._counts["k"] = (99, time.monotonic() - 1)
    assert own.count(["k"], 300)["k"][0] == 1


def test_logins_to_the_administration_pages_are_limited_too(client, django_user_model):
    django_user_model.objects.create_superuser("root", password="right password")
    form = {"username": "root", "password": "wrong"}
    for _ in range(LIMIT):
        assert client.post("/admin/login/", form, secure=True).status_code == 200
    answer = client.post("/admin/login/", form, secure=True)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 200


def test_old_passwords_on_the_page_for_a_new_one_are_limited_too(client, django_user_model):
    user = django_user_model.objects.create_superuser("root", password="right password")
    client.force_login(user)
    new = "another good one"
    form = {"old_password": "wrong", "new_password1": new, "new_password2": new}

    def post(**fields):
        return client.post("/admin/password_change/", form | fields, secure=True).status_code

    assert post(old_password="right password", new_password2="differs") == 200
    for _ in range(LIMIT):
        assert post() == 200
    assert post() == 429
    assert post(old_password="right password") == 429
    user.refresh_from_db()
    assert user.check_password("right password")


def test_a_user_can_change_the_own_password(client, django_user_model):
    user = django_user_model.objects.create_superuser("root", password="right password")
    client.force_login(user)
    new = "another good one"
    form = {"old_password": "right password", "new_password1": new, "new_password2": new}
    assert client.post("/admin/password_change/", form, secure=True).status_code == 302
    assert user_verify("root", new)


@pytest.mark.parametrize("password", ["8362951740", "storageadmin1"])
def test_digits_and_the_users_name_are_refused_as_passwords(password):
    from django.contrib.auth import get_user_model
    from django.contrib.auth.password_validation import validate_password
    from django.core.exceptions import ValidationError

    with pytest.raises(ValidationError):
        validate_password(password, get_user_model()(username="storageadmin"))
