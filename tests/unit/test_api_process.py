"""The thread that accepts connections waits for no client, and finds answers in the cache."""

import socket

import pytest

from provisioner.api_process import arrived, reply
from provisioner.common import known_answers
from provisioner.common.known_answers import KnownAnswers, cache_answer_while

KEPT = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n[]"


def test_an_answer_tells_whether_its_connection_stays_open() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert reply(ours, KEPT)
        assert theirs.recv(8192) == KEPT
        theirs.sendall(b"next")
        assert arrived(ours) == b"next"
        assert not reply(ours, KEPT.replace(b"keep-alive", b"close"))


def test_a_client_that_reads_no_answers_is_noticed() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not all(reply(ours, KEPT) for _ in range(100_000))


def test_an_answer_that_is_repeated_stays_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_answers, "MAX_ANSWERS", 2)
    answers = KnownAnswers()
    answer = KEPT.replace(b"OK", b"OK\r\nDate: x").replace(
        b"\r\n\r\n", b"\r\nX-Request-ID: i\r\n\r\n"
    )

    def is_found(number: int) -> bool:
        return answers.find("1.1.1.1", b"GET /%d HTTP/1.1\r\n\r\n" % number) is not None

    for number in range(6):
        answers.begin()
        cache_answer_while(lambda: True)
        answers.learn("1.1.1.1", b"GET /%d HTTP/1.1\r\n\r\n" % number, answer)
        assert is_found(0)
    assert [number for number in range(1, 6) if is_found(number)] == [4, 5]
