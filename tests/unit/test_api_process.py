"""The thread that accepts connections waits for no client."""

import socket

from provisioner.api_process import arrived, reply

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
