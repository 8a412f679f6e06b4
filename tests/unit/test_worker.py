"""The thread that accepts connections waits for no client."""

import socket
from contextlib import suppress

from provisioner.worker import arrived, reply

KEPT = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n[]"
SECONDS = 5


def test_a_connection_stays_open_after_an_answer_unless_the_answer_closes_it() -> None:
    for answer, is_kept in ((KEPT, True), (KEPT.replace(b"keep-alive", b"close"), False)):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            reply(ours, answer)
            assert theirs.recv(8192) == answer
            with suppress(BrokenPipeError):
                theirs.sendall(b"next")
            assert arrived(ours) == (b"next" if is_kept else b"")


def test_a_client_that_reads_no_answers_is_disconnected() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(SECONDS)
        for _ in range(100_000):
            reply(ours, KEPT)
        with theirs.makefile("rb") as answers:
            assert answers.read()  # it ends
