"""Polls of hosts without tasks are answered from memory, with the answers that the API would
give.
"""

import re
import socket
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from provisioner.access.authorization_server import CACHE_SECONDS
from provisioner.access.models import AuthorizationServer, RevokedToken
from provisioner.access.principals import Role
from provisioner.access.tokens import token_identify
from provisioner.common import clock
from tasks.busy_hosts import STALE_SECONDS
from tasks.models import Task, TaskType
from tests.api.poller_steps import CHANGING, CLOSES, PLAIN, TRIES, Poller, one_answer, token
from tests.api.server_steps import Server
from tests.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)

IDLE, BUSY = "idle-host", "busy-host"
COUNTED = re.compile(rb"^provisioner_known_answers_total (\S+)", re.MULTILINE)
LIFETIME_SECONDS = 15
Lines = list[str]


@pytest.fixture(autouse=True)
def _rows(base_rows: None) -> None:
    Task.objects.create(type=TaskType.REMOTE_MIGRATION, host_id=BUSY, tenant_id="acme")


def poll(poller: Poller, credentials: str, host: str = IDLE) -> bytes:
    return poller.send(f"/tasks?hostId={host}", credentials)


@pytest.fixture
def idle(poller: Poller) -> str:
    """Return the credentials of a poll that is answered from memory."""
    credentials = f"Bearer {token(Role.ADMIN)}"
    assert b"\r\n\r\n[]" in poller.known(lambda: poll(poller, credentials))
    return credentials


HOSTS = f"/tasks?hostId={IDLE}"


@pytest.mark.parametrize(
    ("path", "roles", "bindings", "more"),
    [
        (HOSTS, [Role.ADMIN], {}, []),
        (HOSTS, [Role.ADMIN], {}, ["content-length: 0"]),
        (HOSTS, [Role.MONITOR], {}, ["user-agent: agent/3.22", "accept: */*"]),
        (HOSTS, [Role.STORAGE], {"tenant_id": "acme"}, []),
        (HOSTS, [Role.HOST], {"host_id": IDLE}, []),
        (HOSTS, [Role.HOST], {"host_id": IDLE, "tenant_id": "acme"}, ["accept-encoding: gzip"]),
        ("/tasks", [Role.HOST], {"host_id": IDLE}, []),
        ("/tasks/", [Role.HOST], {"host_id": IDLE}, []),
        (f"/tasks/?HOSTID={IDLE}&taskId=", [Role.ADMIN], {}, []),
        (f"{HOSTS}&unknown=1", [Role.ADMIN], {}, []),
    ],
)
def test_an_answer_from_memory_has_the_same_bytes_as_the_apis(
    poller: Poller, path: str, roles: list[Role], bindings: dict[str, Any], more: Lines
) -> None:
    credentials = f"Bearer {token(*roles, **bindings)}"

    def send() -> bytes:
        return poller.send(path, credentials, *more)

    by_the_api = send()
    assert poller.is_logged(by_the_api)
    from_memory = poller.known(send)
    assert CHANGING.sub(b"-", from_memory) == CHANGING.sub(b"-", by_the_api)
    assert len(CHANGING.findall(from_memory)) == 2
    assert CHANGING.findall(from_memory)[1] != CHANGING.findall(by_the_api)[1]
    assert by_the_api.endswith(b"\r\n\r\n[]")


ADMIN: tuple[list[Role], dict[str, Any]] = ([Role.ADMIN], {})


@pytest.mark.parametrize(
    ("caller", "path", "more", "how", "status"),
    [
        (ADMIN, f"/tasks?hostId={BUSY}", [], {}, 200),
        (([Role.STORAGE], {"tenant_id": "other"}), f"/tasks?hostId={BUSY}", [], {}, 200),
        (([Role.HOST], {"host_id": "another"}), HOSTS, [], {}, 403),
        (([Role.NODE], {"node_id": "n"}), HOSTS, [], {}, 403),
        (([Role.HOST], {}), HOSTS, [], {}, 401),
        (ADMIN, "/tasks?taskId=none", [], {}, 200),
        (ADMIN, "/tasks?hostId=not%20an%20id", [], {}, 400),
        (ADMIN, f"{HOSTS}&taskId=one", [], {}, 400),
        (ADMIN, HOSTS, ["x-request-id: of-the-caller"], {}, 200),
        (ADMIN, HOSTS, [], {"source": "127.0.0.2"}, 403),
        (ADMIN, f"/volumes?hostID={IDLE}", [], {}, 200),
    ],
)
def test_all_other_requests_are_answered_by_the_api(
    poller: Poller,
    idle: str,
    caller: tuple[list[Role], dict[str, Any]],
    path: str,
    more: Lines,
    how: dict[str, str],
    status: int,
) -> None:
    time.sleep(STALE_SECONDS)  # the task of the busy host is as old as the rows of this test
    roles, bindings = caller
    credentials = f"Bearer {token(*roles, **bindings)}"
    for _ in range(TRIES):
        answer = poller.send(path, credentials, *more, **how)
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer
        assert poller.is_logged(answer)


def test_no_poll_has_to_read_what_the_process_reads_in_time(poller: Poller, idle: str) -> None:
    """Tokens and the authorization server are read again before they are too old."""

    def all_are_known() -> bool:
        until = time.monotonic() + 1.5 * CACHE_SECONDS
        while time.monotonic() < until:
            if poller.is_logged(poll(poller, idle)):
                return False
            time.sleep(0.05)
        return True

    eventually(all_are_known, seconds=60, what="some polls were answered by the API")


def test_requests_without_a_valid_token_are_answered_by_the_api(
    poller: Poller, idle: str, admin_header: dict[str, str]
) -> None:
    for _ in range(TRIES):
        assert poll(poller, "Bearer x.y.z").startswith(b"HTTP/1.1 401 ")
        answer = poll(poller, admin_header["Authorization"])
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert poller.is_logged(answer)


def test_a_kept_connection_carries_answers_of_both_kinds(poller: Poller, idle: str) -> None:
    def is_known(connected: socket.socket, request: bytes) -> bool:
        connected.sendall(request)
        return not poller.is_logged(one_answer(connected))

    idles, busies = poller.request(HOSTS, idle), poller.request(f"/tasks?hostId={BUSY}", idle)
    with poller.server.connected() as connected:
        eventually(lambda: is_known(connected, idles), seconds=60, what="no answer is known")
        for _ in range(TRIES):
            assert not is_known(connected, busies)
        eventually(lambda: is_known(connected, idles), seconds=60, what="no answer is known")


def test_each_of_two_requests_that_arrive_together_is_answered(poller: Poller, idle: str) -> None:
    """The second one is of another host than the first."""
    first = poller.request(HOSTS, idle)
    second = poller.request(f"/tasks?hostId={BUSY}", idle, end="close")
    for _ in range(TRIES):
        answer = poller.server.plain(first + second)
        assert answer.count(b"HTTP/1.1 200 ") == 2
        assert b"RemoteMigration" in answer
    assert b"RemoteMigration" not in poller.known(lambda: poll(poller, idle))


@pytest.mark.parametrize("at", [1, 20, -1])
def test_a_request_that_arrives_in_two_parts_is_answered_by_the_api(
    poller: Poller, idle: str, at: int
) -> None:
    """Unless the server was so slow that it received them together."""
    request = poller.request(HOSTS, idle)
    with poller.server.connected() as connected:

        def is_logged() -> bool:
            connected.sendall(request[:at])
            time.sleep(0.05)
            connected.sendall(request[at:])
            answer = one_answer(connected)
            assert answer.endswith(b"\r\n\r\n[]")
            return poller.is_logged(answer)

        eventually(is_logged, seconds=10, what="all were answered from memory")


def test_a_connection_that_the_caller_wants_closed_is_closed(poller: Poller, idle: str) -> None:
    def send() -> bytes:
        return poller.send(HOSTS, idle, end="close")

    assert CLOSES in send()
    assert CLOSES in poller.known(send)  # the poller waits for the end of the connection
    assert not poller.kept


def test_answers_from_memory_are_counted_in_the_metrics(poller: Poller, idle: str) -> None:
    def counted() -> float:
        text = poller.server.plain(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        found = COUNTED.search(text)
        assert found, text[-2000:]
        return float(found[1])

    before = counted()
    poller.known(lambda: poll(poller, idle))
    assert counted() == before + 1


def test_a_new_task_is_seen_in_time(poller: Poller, idle: str) -> None:
    Task.objects.create(type=TaskType.REMOTE_MIGRATION, host_id=IDLE)
    time.sleep(STALE_SECONDS)
    assert b"RemoteMigration" in poll(poller, idle)
    Task.objects.filter(host_id=IDLE).delete()
    poller.known(lambda: poll(poller, idle))


def test_a_new_task_is_seen_in_time_while_the_hosts_cannot_be_read(
    poller: Poller, idle: str
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE tasks_task RENAME TO away")
        try:
            time.sleep(STALE_SECONDS)
            assert poll(poller, idle).startswith(b"HTTP/1.1 500 ")
        finally:
            cursor.execute("ALTER TABLE away RENAME TO tasks_task")
    poller.known(lambda: poll(poller, idle))


def test_a_new_task_is_seen_in_time_while_the_reading_hangs(poller: Poller, idle: str) -> None:
    settings = connection.get_connection_params()
    known = {n: settings[n] for n in ("host", "port", "user", "dbname") if settings.get(n)}
    with psycopg.connect(**known) as other:
        other.execute("LOCK TABLE tasks_task IN ACCESS EXCLUSIVE MODE")
        time.sleep(STALE_SECONDS)
        with pytest.raises(TimeoutError):
            poller.server.plain(poller.request(HOSTS, idle, end="close"), seconds=1)
    poller.known(lambda: poll(poller, idle))


def test_a_revoked_token_is_refused_in_time(poller: Poller) -> None:
    given = token(Role.ADMIN)
    poller.known(lambda: poll(poller, f"Bearer {given}"))
    token_id, expires_at = token_identify(given)
    RevokedToken.objects.create(token_id=token_id, expires_at=expires_at)
    time.sleep(CACHE_SECONDS)
    for _ in range(TRIES):
        assert b"was revoked" in poll(poller, f"Bearer {given}")


def test_an_expired_token_is_refused(poller: Poller) -> None:
    ends_at = time.monotonic() + LIFETIME_SECONDS + 1  # it expires at a whole second
    credentials = f"Bearer {token(Role.ADMIN, seconds=LIFETIME_SECONDS)}"
    poller.known(lambda: poll(poller, credentials))
    time.sleep(max(0.0, ends_at - time.monotonic()))
    for _ in range(TRIES):
        assert b"has expired" in poll(poller, credentials)


def test_local_tokens_are_refused_when_there_is_an_authorization_server(
    poller: Poller, idle: str
) -> None:
    AuthorizationServer.objects.create(
        pk=AuthorizationServer.ONLY,
        token_url="https://127.0.0.1/t",
        jwk_set_url="https://127.0.0.1/k",
        changed_at=clock.now(),
    )
    time.sleep(CACHE_SECONDS)
    for _ in range(TRIES):
        assert not poll(poller, idle).startswith(b"HTTP/1.1 200 ")
    AuthorizationServer.objects.all().delete()
    time.sleep(CACHE_SECONDS)
    poller.known(lambda: poll(poller, idle))


def test_no_poll_is_lost_when_the_process_is_stopped(tmp_path: Path) -> None:
    """It answers on kept connections until it has said with an answer that it closes them."""
    server = Server(tmp_path, **PLAIN)
    poller = Poller(server)
    try:
        credentials = f"Bearer {token(Role.ADMIN)}"
        poller.known(lambda: poll(poller, credentials))
        server.process.terminate()
        while CLOSES not in poll(poller, credentials):  # gunicorn waits 2 s for the next one
            pass
        assert server.process.wait(30) == 0
    finally:
        server.stop()
        poller.close()
