"""Lists of any length are written in chunks, show one moment, and are never cut off unnoticed."""

import datetime as dt
import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import OperationalError, connection
from django.test import Client, RequestFactory

from inventory.models import Host
from provisioner.access import concurrency
from provisioner.common import clock, long_lists
from provisioner.common.pagination import Page
from tasks.models import Task, TaskState, TaskType
from tests.api.server_steps import Server
from tests.api.snapshot_steps import snapped
from tests.api.volume_steps import created, probe_host, published
from tests.api.wire import refused, send
from tests.conftest import Api
from volumes.models import Export, Publication, Replica, Snapshot, Volume
from volumes.read_models import VolumesWanted

pytestmark = pytest.mark.django_db(transaction=True)
ROWS = 1234
FEW, PIECE = 8, 3
COLLECTIONS = ("/volumes", "/0/volumes", "/snapshots", "/hosts", "/targets", "/tasks")
UNPAGED = ("/targets", "/tasks")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make lists of more than FEW rows count as long."""
    monkeypatch.setattr(long_lists, "FEW_ROWS", FEW)
    monkeypatch.setattr("provisioner.access.views.PIECE_ROWS", PIECE)


@pytest.fixture
def caller(api: Api, pool: Any) -> Client:
    """The API, called in this thread, with a volume that has a snapshot and a volume that is
    published. Copies of these rows exist only in the database.
    """
    pool(1)
    uuid = created(api, "v0")
    snapped(api, uuid, "s0")
    published(api, created(api, "p0"), probe_host(api))
    return Client(headers={"Authorization": api.authorization})


def copies(number: int) -> None:
    """Insert this number of rows of each kind."""
    volume, host = Volume.objects.get(alias="p0"), Host.objects.get()
    export, publication = Export.objects.get(), Publication.objects.get()
    replica = Replica.objects.get(volume=volume)
    snapshot = Snapshot.objects.get()
    pk = 10_000
    kinds: list[tuple[Any, Any, tuple[str, ...]]] = [
        (Volume, volume, ("uuid", "alias")),
        (Host, host, ("uuid", "name", "nqn")),
        (Snapshot, snapshot, ("uuid", "alias")),
    ]
    for model, row, names in kinds:
        rows = []
        for n in range(number):
            values = {f.attname: getattr(row, f.attname) for f in model._meta.concrete_fields}
            values |= {name: f"{name}-{n:06}" for name in names}
            rows.append(model(**values | ({"id": pk + n} if "id" in values else {})))
        model.objects.bulk_create(rows)
    long_ago = clock.now() - dt.timedelta(days=3650)
    Task.objects.bulk_create(
        Task(
            task_id=f"t-{n:06}",
            type=TaskType.REPLICA_SYNC,
            state=TaskState.IDLE if n % 2 else TaskState.FINISHED,
            ended_at=None if n % 2 else long_ago,
        )
        for n in range(2 * number)
    )
    Replica.objects.bulk_create(
        _copy(replica, id=pk + n, uuid=f"r-{n}", volume_id=pk + n) for n in range(number)
    )
    Publication.objects.bulk_create(
        _copy(publication, id=pk + n, volume_id=pk + n, host_id=f"uuid-{n:06}")
        for n in range(number)
    )
    Export.objects.bulk_create(
        _copy(export, id=pk + n, publication_id=pk + n, replica_id=pk + n, nsid=2 + n)
        for n in range(number)
    )


def _copy(row: Any, **changed: Any) -> Any:
    values = {f.attname: getattr(row, f.attname) for f in row._meta.concrete_fields}
    return type(row)(**values | changed)


def read(client: Client, path: str) -> tuple[Any, bool]:
    """Return the content of an answer, and whether it was streamed."""
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    text = b"".join(answer) if answer.streaming else answer.content
    answer.close()
    assert concurrency.all_idle()
    for item in (parsed := json.loads(text)):
        for replica in item.get("location", []):
            replica.pop("currentStateTime", None)
    return parsed, answer.streaming


@pytest.mark.parametrize("path", COLLECTIONS)
@pytest.mark.parametrize("query", ["", "limit=10", "limit=8", "limit=9&offset=3", "offset=2"])
def test_a_long_list_has_the_same_content_as_a_short_answer(
    caller: Client, monkeypatch: pytest.MonkeyPatch, path: str, query: str
) -> None:
    """Tests all lengths around the limits."""
    copies(2 * FEW)
    path = f"{path}?{query}" if query and path not in UNPAGED else path
    whole, streamed = read(caller, path)
    assert not streamed
    monkeypatch.setattr("provisioner.access.views.PIECE_ROWS", PIECE)
    for few in (1, len(whole) - 1, len(whole), len(whole) + 1):
        monkeypatch.setattr(long_lists, "FEW_ROWS", few)
        found, streamed = read(caller, path)
        assert found == whole
        is_a_page = f"limit={len(whole)}" in path
        assert streamed == (few < len(whole) or (few == len(whole) and not is_a_page))


def test_a_long_list_omits_tasks_whose_retention_is_over(short: None, caller: Client) -> None:
    copies(2 * FEW)
    found, streamed = read(caller, "/tasks")
    assert streamed
    assert [each["taskId"] for each in found] == [f"t-{2 * n + 1:06}" for n in range(2 * FEW)]


def test_a_long_list_can_begin_after_a_marker(short: None, caller: Client) -> None:
    copies(3 * FEW)
    whole, _ = read(caller, "/volumes")
    found, streamed = read(caller, f"/volumes?marker={whole[4]['uuid']}")
    assert (found, streamed) == (whole[5:], True)
    found, _ = read(caller, f"/volumes?marker={whole[4]['uuid']}&limit=11")
    assert found == whole[5:16]


def test_rows_deleted_meanwhile_are_in_the_list(short: None, caller: Client) -> None:
    """The list shows the database at the time of its first chunk."""
    copies(3 * FEW)
    whole, _ = read(caller, "/volumes")
    answer = caller.get("/volumes")
    chunks = iter(answer)
    text = next(chunks)
    _elsewhere("UPDATE volumes_volume SET state = 'DELETING', deadline_at = now()")
    text += b"".join(chunks)
    answer.close()
    assert [each["uuid"] for each in json.loads(text)] == [each["uuid"] for each in whole]
    assert read(caller, "/volumes") == ([], False)


def test_a_failure_before_the_first_chunk_has_an_http_status(
    short: None, caller: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies(FEW)
    _fails_at(monkeypatch, 2)  # the first chunk of the list proper
    answer = caller.get("/volumes")
    assert (answer.status_code, answer.json()["status"]) == (503, "ServiceUnavailable")
    assert concurrency.all_idle()


def test_a_later_failure_is_raised_to_the_server(
    short: None, caller: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies(FEW)
    _fails_at(monkeypatch, 4)
    answer = caller.get("/volumes")
    assert answer.status_code == 200
    with pytest.raises(OperationalError):
        list(answer)
    answer.close()
    assert concurrency.all_idle()
    assert not connection.in_atomic_block


def test_a_client_that_leaves_ends_the_list(short: None, caller: Client) -> None:
    copies(3 * FEW)
    answer = caller.get("/volumes")
    next(iter(answer))
    assert connection.in_atomic_block
    answer.close()
    assert not connection.in_atomic_block
    assert concurrency.all_idle()


def test_a_slow_client_does_not_prolong_the_transaction(
    short: None, caller: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the list waits in a file, and others can list meanwhile."""
    monkeypatch.setattr(long_lists, "CLIENT_SECONDS", 1e-9)
    copies(3 * FEW)
    answer = caller.get("/volumes")
    chunks = iter(answer)
    text = next(chunks) + next(chunks)
    assert not connection.in_atomic_block
    assert concurrency._lists.is_idle
    assert not concurrency._places.is_idle
    whole, _ = read_elsewhere(caller)
    text += b"".join(chunks)
    answer.close()
    assert [each["uuid"] for each in json.loads(text)] == whole
    assert concurrency.all_idle()


def read_elsewhere(caller: Client) -> tuple[list[str], bool]:
    found = Volume.objects.order_by("uuid").values_list("uuid", flat=True)
    return list(found), False


@pytest.mark.parametrize(
    ("method", "protocol"), [("GET", "HTTP/1.0"), ("HEAD", "HTTP/1.1"), ("HEAD", "HTTP/1.0")]
)
def test_an_answer_without_chunks_states_its_length(
    short: None, caller: Client, api: Api, method: str, protocol: str
) -> None:
    copies(FEW)
    whole = b"".join(caller.get("/volumes"))
    environ = RequestFactory().generic(method, "/volumes").environ
    environ |= {"SERVER_PROTOCOL": protocol, "HTTP_AUTHORIZATION": api.authorization}
    heads: list[dict[str, str]] = []

    def start(status: str, headers: Any, error: Any = None) -> Any:
        heads.append(dict(headers))

    body: Any = WSGIHandler()(environ, start)
    with closing(body):
        text = b"".join(body)
    [head] = heads
    assert len(json.loads(text)) == len(json.loads(whole))
    assert head["Content-Length"] == str(len(text))


def test_a_caller_writes_one_list_at_a_time(
    short: None,
    caller: Client,
    api: Api,
    make_user: Callable[..., dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(concurrency, "LIST_SECONDS", 0.05)
    copies(FEW)
    headers = {"Authorization": api.authorization}
    other = make_user("other", "right password", "MONITOR")
    with closing(caller.get("/volumes")) as answer:
        assert answer.streaming
        second = send(api.url, "GET", "/volumes", headers=headers)
        refused(second, 429, "TooManyRequests")
        assert send(api.url, "GET", "/volumes?limit=3", headers=headers).http == 200
        assert len(send(api.url, "GET", "/volumes", headers=other).body) > FEW
        b"".join(answer)
    assert send(api.url, "GET", "/volumes", headers=headers).http == 200


@pytest.fixture
def server(caller: Client, tmp_path: Any) -> Iterator[Server]:
    running = Server(tmp_path)
    yield running
    running.stop()


def test_a_list_that_fails_midway_is_incomplete_for_its_client(
    server: Server, caller: Client, api: Api
) -> None:
    """The test uses the real server, and a last row that cannot be serialized."""
    copies(ROWS)
    headers = {"Authorization": api.authorization}
    whole = server.request("GET", "/volumes", headers=headers)
    assert whole.headers["Transfer-Encoding"] == "chunked"
    assert len(json.loads(whole.data)) == ROWS + 2
    last = Volume.objects.filter(pk=Volume.objects.order_by("-uuid").values("pk")[:1])
    last.update(block_size=1234)
    with server.connect() as secure:
        head = f"GET /volumes HTTP/1.1\r\nHost: x\r\nAuthorization: {api.authorization}\r\n\r\n"
        secure.sendall(head.encode())
        answer = http.client.HTTPResponse(secure)
        answer.begin()
        assert answer.status == 200
        with pytest.raises(http.client.IncompleteRead):
            answer.read()
    last.update(block_size=4096)
    assert len(json.loads(server.request("GET", "/volumes", headers=headers).data)) == ROWS + 2


def _elsewhere(statement: str) -> None:
    """Run the function on another connection."""
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute(statement)
    finally:
        other.close()


def _fails_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Make reading of the n-th chunk fail."""
    read, calls = VolumesWanted.read, iter(range(1, 1000))

    def read_or_fail(wanted: VolumesWanted, page: Page) -> Any:
        if next(calls) == number:
            raise OperationalError("the connection broke")
        return read(wanted, page)

    monkeypatch.setattr(VolumesWanted, "read", read_or_fail)
