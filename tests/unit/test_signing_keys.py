"""The keys that an authorization server publishes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from provisioner.access import http_fetch, jwk_set
from provisioner.access.jwk_set import JwkSet
from provisioner.access.signing_keys import KeysUnreadable, signing_key
from tests.oidc.token_server import Reply, TokenServer, jwk, key


@pytest.fixture
def server() -> Iterator[TokenServer]:
    server = TokenServer()
    yield server
    server.close()


@pytest.fixture
def keys(server: TokenServer) -> JwkSet:
    return JwkSet(f"{server.url}/jwks")


def test_a_server_that_hangs_is_called_for_a_tenth_of_the_time(
    server: TokenServer, keys: JwkSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_fetch, "CALL_SECONDS", 0.5)
    monkeypatch.setattr(jwk_set, "REFETCH_SECONDS", 0.0)
    monkeypatch.setattr(jwk_set, "PAUSE_FACTOR", 1000)
    server.broken["/jwks"] = Reply(seconds=1)
    for _ in range(3):
        with pytest.raises(KeysUnreadable, match=r"no answer within 0\.5 s"):
            keys.candidates("unknown")
    assert server.fetched == ["/jwks"]


def test_after_a_failure_no_caller_waits_for_another_ones_read(
    server: TokenServer, keys: JwkSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwk_set, "REFETCH_SECONDS", 0.0)
    monkeypatch.setattr(jwk_set, "PAUSE_FACTOR", 0)
    server.broken["/jwks"] = Reply(500)
    with pytest.raises(KeysUnreadable):
        keys.candidates("k1")
    with ThreadPoolExecutor(1) as executor:
        with keys._lock:  # as while another thread reads
            waiting = executor.submit(keys.candidates, "k1")
            assert isinstance(waiting.exception(30), KeysUnreadable)
        server.broken.clear()
        assert executor.submit(keys.candidates, "k1").result(30)


def test_keys_that_are_too_old_are_not_used_while_another_caller_reads_them(
    keys: JwkSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert keys.candidates("k1")
    monkeypatch.setattr(jwk_set, "REFETCH_SECONDS", 0.0)
    monkeypatch.setattr(keys, "_read_at", keys._read_at - jwk_set.USABLE_SECONDS)
    monkeypatch.setattr(keys, "_next_read_at", 0.0)
    with ThreadPoolExecutor(1) as executor:
        with keys._lock:
            waiting = executor.submit(keys.candidates, "k1")
            with pytest.raises(TimeoutError):
                waiting.result(0.2)
        assert waiting.result(30)


@pytest.mark.parametrize("kid", ["k2", None])
def test_a_key_for_encryption_verifies_no_token(
    server: TokenServer, keys: JwkSet, kid: str | None
) -> None:
    server.published.append(jwk(key(1), "k2", use="enc"))
    assert "k2" not in [found.kid for found in keys.candidates(kid)]


def test_a_key_is_trusted_until_the_server_no_longer_publishes_it(
    server: TokenServer, keys: JwkSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwk_set, "REFETCH_SECONDS", 0.0)
    [first] = keys.candidates("k1")
    assert keys.trusts(first)
    assert not keys.trusts(signing_key(key(1).public_key(), kid="k1", algorithm="RS256"))
    server.published.append(jwk(key(1), "k2"))
    assert keys.candidates("k2")
    assert keys.trusts(first), "it was read again"
    del server.published[0]
    monkeypatch.setattr(keys, "_read_at", keys._read_at - jwk_set.FRESH_SECONDS)
    assert keys.candidates("k2")
    assert not keys.trusts(first)


def test_old_keys_are_trusted_as_long_as_they_are_used(
    keys: JwkSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some calls are not trusted, so that a token is verified, and the keys are read again."""
    monkeypatch.setattr(jwk_set, "DUE_SECONDS", 60.0)
    [first] = keys.candidates("k1")
    monkeypatch.setattr(keys, "_read_at", keys._read_at - jwk_set.FRESH_SECONDS)
    assert [keys.trusts(first) for _ in range(3)] == [False, True, True]
    monkeypatch.setattr(keys, "_next_due_at", 0.0)
    assert [keys.trusts(first) for _ in range(3)] == [False, True, True]
    monkeypatch.setattr(keys, "_read_at", keys._read_at - jwk_set.USABLE_SECONDS)
    assert not keys.trusts(first)


def test_callers_wait_only_a_moment_for_the_first_read(
    keys: JwkSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwk_set, "WAIT_SECONDS", 0.1)
    with ThreadPoolExecutor(1) as executor, keys._lock:
        waiting = executor.submit(keys.candidates, "k1")
        error = waiting.exception(30)
    assert isinstance(error, KeysUnreadable)
    assert str(error).endswith(": another call is reading them")


def test_a_key_that_another_caller_may_be_reading_is_not_unknown(
    server: TokenServer, keys: JwkSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while the server changes its keys and takes longer than a caller waits."""
    monkeypatch.setattr(jwk_set, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(jwk_set, "REFETCH_SECONDS", 0.0)
    assert keys.candidates("k1")
    server.published.append(jwk(key(1), "k2"))
    with ThreadPoolExecutor(1) as executor:
        with keys._lock:
            waiting = executor.submit(keys.candidates, "k2")
            assert isinstance(waiting.exception(30), KeysUnreadable)
        assert executor.submit(keys.candidates, "k2").result(30)
