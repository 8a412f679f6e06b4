"""``/syslog`` and ``/forward_log``, and the source of their settings. A real rsyslog receives the
records.
"""

import datetime as dt

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from inventory.jobs import poll_syslogs
from inventory.metrics import DROPPED
from inventory.models import Backend, SyslogRecord, SyslogServer, SyslogSource
from inventory.views.probe import PROBE as NODE_PROBE
from tests.api.syslog_steps import SUCCESS, request, server, wanted
from tests.syslog_parser import BOM, parse

pytestmark = pytest.mark.django_db(transaction=True)

REFERENCE_SERVER = {
    "id": 3889,
    "name": "TestSyslog",
    "url": "tcp://192.0.2.1:6514",
    "state": True,
    "useTls": True,
    "certFileName": "syslog_cert.crt",
}
FORGED = "\n<14>1 2026-01-01T00:00:00Z forged forged - - - forged"


# the settings


def test_syslog_servers_are_listed_as_in_the_reference(api, configured):
    assert api.get("/syslog").body == []
    fields = {"name": "TestSyslog", "use_tls": True, "cert_file_name": "syslog_cert.crt"}
    configured(server("tcp://192.0.2.1:6514", 3889, **fields, certificate="PEM"))
    answer = api.get("/syslog")
    assert (answer.http, answer.body) == (200, [REFERENCE_SERVER])


def test_a_server_without_a_certificate_file_shows_no_file_name(api, configured):
    configured(server("udp://192.0.2.1", state=False))
    [shown] = api.get("/syslog").body
    assert set(shown) == set(REFERENCE_SERVER) - {"certFileName"}
    assert shown["state"] is False


def test_info_names_the_node_that_the_settings_come_from(api, configured):
    assert "syslogsBackend" not in api.get("/info").body
    persistent_id = configured(server("udp://192.0.2.1"))
    assert api.get("/info").body["syslogsBackend"] == persistent_id


def test_settings_come_from_a_node_that_has_some(api, fleet, pool, work):
    fleet.nodes[1].set_syslogs([server("udp://192.0.2.1")])
    fleet.nodes[2].set_syslogs([server("udp://192.0.2.2")])
    ids = pool(3)
    work()
    assert api.get("/info").body["syslogsBackend"] in ids[1:]
    assert not Backend.objects.filter(syslogs_wanted_at__isnull=False).exists()


def test_a_later_node_is_not_read_if_settings_are_known(api, fleet, configured, work):
    first = configured(server("udp://192.0.2.1"))
    fleet.nodes[1].set_syslogs([server("udp://192.0.2.2")])
    node = fleet.nodes[1]
    api.post("/backends", {"mgmtIPs": [node.address], "mgmtPort": node.port})
    assert work() == []
    assert api.get("/info").body["syslogsBackend"] == first


def test_another_node_cannot_redirect_the_logs(api, fleet, pool, work):
    """This is so whatever the other node reports, and however often."""
    fleet.nodes[0].set_syslogs([server("udp://192.0.2.1")])
    first, second = pool(2)
    work()
    fleet.nodes[1].set_syslogs([server("udp://192.0.2.66")])
    for _ in range(2):
        report = NODE_PROBE | {"persistentID": second, "changes": 2}
        assert api.as_role("NODE", node=second).post("/probe", report).status == "Success"
        work()
        poll_syslogs()
    assert [s["url"] for s in api.get("/syslog").body] == ["udp://192.0.2.1"]
    assert api.get("/info").body["syslogsBackend"] == first


def test_a_change_on_the_chosen_node_is_stored(api, fleet, pool, work):
    fleet.nodes[0].set_syslogs([server("udp://192.0.2.1"), server("udp://192.0.2.9", 2)])
    first, second = pool(2)
    work()
    assert api.get("/info").body["syslogsBackend"] == first
    kept = SyslogServer.objects.get(url="udp://192.0.2.1")
    fleet.nodes[1].set_syslogs([server("udp://192.0.2.1", 7), server("tls://192.0.2.2", 8)])
    with pytest.raises(CommandError, match="no backend"):
        call_command("syslog_source", "none")
    call_command("syslog_source", second)
    poll_syslogs()
    assert [s["url"] for s in api.get("/syslog").body] == ["udp://192.0.2.1", "tls://192.0.2.2"]
    assert api.get("/info").body["syslogsBackend"] == second
    assert SyslogServer.objects.get(url="udp://192.0.2.1").pk == kept.pk


def test_only_the_source_node_can_remove_the_settings(api, fleet, pool, work):
    fleet.nodes[0].set_syslogs([server("udp://192.0.2.1")])
    first, second = pool(2)
    work()
    wanted(second)
    poll_syslogs()
    assert api.get("/info").body["syslogsBackend"] == first
    fleet.nodes[0].set_syslogs([])
    wanted(first)
    poll_syslogs()
    assert api.get("/syslog").body == []
    assert "syslogsBackend" not in api.get("/info").body


def test_a_node_that_does_not_answer_is_read_by_a_later_poll(api, fleet, configured):
    persistent_id = configured()
    wanted(persistent_id)
    fleet.nodes[0].set_syslogs([server("udp://192.0.2.1")])
    fleet.nodes[0].faults.go_down()
    poll_syslogs()
    assert api.get("/syslog").body == []
    fleet.nodes[0].faults.come_up()
    Backend.objects.update(available_until=timezone.now())
    poll_syslogs()
    assert api.get("/syslog").body == [], "it is Unavailable"
    Backend.objects.update(available_until=timezone.now() + dt.timedelta(minutes=1))
    poll_syslogs()
    assert len(api.get("/syslog").body) == 1


def test_another_node_becomes_the_source_when_the_source_is_removed(api, fleet, pool, work):
    fleet.nodes[0].set_syslogs([server("udp://192.0.2.1")])
    first, _, third = pool(3)
    work()
    fleet.nodes[2].set_syslogs([server("udp://192.0.2.3")])
    assert api.delete(f"/backends/{first}").status == "Success"
    assert "syslogsBackend" not in api.get("/info").body
    assert len(api.get("/syslog").body) == 1, "until another was read"
    poll_syslogs()
    assert api.get("/info").body["syslogsBackend"] == third
    assert [s["url"] for s in api.get("/syslog").body] == ["udp://192.0.2.3"]


def test_the_settings_are_deleted_when_no_node_has_any(api, fleet, pool, work):
    fleet.nodes[0].set_syslogs([server("udp://192.0.2.1")])
    first, second = pool(2)
    work()
    api.delete(f"/backends/{first}")
    fleet.nodes[1].faults.go_down()
    poll_syslogs()
    assert len(api.get("/syslog").body) == 1, "nobody said that there are none"
    fleet.nodes[1].faults.come_up()
    poll_syslogs()
    assert api.get("/syslog").body == []
    assert SyslogSource.objects.get().backend is None
    assert Backend.objects.filter(pk=second).exists()


# forwarding


def test_every_field_arrives_at_the_receiver(api, receiver, work):
    rsyslog = receiver("udp", "tcp", "tls")
    before = timezone.now()
    answer = api.as_role("HOST", host="TestHost").post("/forward_log", request())
    assert (answer.http, answer.body) == (200, SUCCESS)
    assert work() == ["inventory.jobs.send_syslog_records"] * 3
    records = rsyslog.records(3)
    assert {record["transport"] for record in records} == {"udp", "tcp", "tls"}
    for record in records:
        fields = {name: record[name] for name in ("host", "app_name", "process", "logging_type")}
        assert fields == {
            "host": "TestHost",
            "app_name": "TestApp",
            "process": "-",
            "logging_type": "COMMAND",
        }
        assert record["priority"] == str(16 * 8 + 3)
        assert record["data"] == '[parameters@32473 Test="TestValue"]'
        assert record["message"] == f"{BOM}TestMessage-forwardLogTest"
        at = dt.datetime.fromisoformat(record["at"])
        assert before <= at <= timezone.now()
    assert SyslogRecord.objects.count() == 0


@pytest.mark.parametrize(
    ("level", "severity"), [("FATAL", 2), ("ERROR", 3), ("WARN", 4), ("INFO", 6)]
)
def test_level_facility_and_enterprise_number_are_in_the_record(
    api, receiver, work, settings, level, severity
):
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(
        update={"syslog_facility": 13, "syslog_enterprise_number": 4711}
    )
    rsyslog = receiver("tcp")
    assert api.post("/forward_log", request(level=level, loggingType="EVENT")).body == SUCCESS
    work()
    [record] = rsyslog.records(1)
    assert record["priority"] == str(13 * 8 + severity)
    assert record["logging_type"] == "EVENT"
    assert record["data"].startswith("[parameters@4711 ")


VALUES = [
    "Grüße, 世界 🎉 a\u0301",
    'say "hello" [now] \\ \\" \\] C:\\temp\\new',
    '"] [forged@1 a="b',
    "  spaces around  ",
    "%s %d %n {0} ${x}",
    "-",
    "x" * 10_240,
    "é" * 5_120,
    "\ufeffa byte order mark",
]


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_values_arrive_exactly(api, receiver, work, transport, value):
    rsyslog = receiver(transport)
    body = request(message=value, parametersList={"a": value, "b": "", "c": "last"})
    assert api.post("/forward_log", body).body == SUCCESS
    work()
    [record] = rsyslog.records(1)
    found = parse(record["raw"].encode())
    assert found.message == value
    assert found.parameters == [("a", value), ("b", ""), ("c", "last")]
    assert record["message"] == f"{BOM}{value}"


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_no_value_forges_a_line(api, receiver, work, transport):
    """Line breaks and control characters arrive as their pictures."""
    rsyslog = receiver(transport)
    value = f"first\r\n\tsecond\x1b[31m\x7f\x85\u2028{FORGED}\n"
    seen = f"first␍␊␉second␛[31m␡␤␤{FORGED.replace(chr(10), '␊')}␊"
    api.post("/forward_log", request(message=value, parametersList={"p": value}))
    api.post("/forward_log", request(message="the next"))
    work()
    first, second = rsyslog.records(2)
    assert parse(first["raw"].encode()).message == seen
    assert parse(first["raw"].encode()).parameters == [("p", seen)]
    assert (first["host"], second["host"]) == ("TestHost", "TestHost")
    assert second["message"].endswith("the next")
    assert len(rsyslog.records(2)) == 2


def test_parameters_may_be_a_list(api, receiver, work):
    rsyslog = receiver("tcp")
    pairs = [{"name": "a", "value": "1"}, {"Name": "a", " value ": 2}, {"name": "b", "value": ""}]
    for given in (pairs, None, {}, [], {"a": None}):
        assert api.post("/forward_log", request(parametersList=given)).body == SUCCESS
    work()
    data = [record["data"] for record in rsyslog.records(5)]
    assert data == ['[parameters@32473 a="1" a="2" b=""]', "-", "-", "-", "-"]


WRONG = [
    *[({name: None}, f"{name} = None: This field is required.") for name in request()][:5],
    ({"loggingType": "AUDIT"}, "loggingType = 'AUDIT': must be one of EVENT, COMMAND"),
    ({"level": "DEBUG"}, "level = 'DEBUG': must be one of FATAL, ERROR, WARN, INFO"),
    ({"level": {}}, "level = {}: must be one of FATAL, ERROR, WARN, INFO"),
    ({"message": ""}, "message = '': This field may not be blank."),
    ({"message": 1.5e400}, "HTTP Status 400"),
    ({"message": ["a"]}, "message = ['a']: Not a valid string."),
    ({"message": "a\0b"}, "message = 'a\\x00b': Null characters are not allowed."),
    ({"message": "\ud800"}, "message = '\\ud800': Surrogate characters are not allowed: U+D800."),
    *[
        ({"host": host}, "host = ")
        for host in ("", "a b", "a\n", "\ta", "h\0", "ü", "h" * 256, f"h{FORGED}", 'h"\x7f', ["h"])
    ],
    *[
        ({"appName": name}, "appName = ")
        for name in ("", "a b", "a\r\n", "a" * 49, "appé", f"a{FORGED}")
    ],
    ({"parametersList": "a=b"}, "parametersList = 'a=b': must be an object of texts"),
    ({"parametersList": {"a b": "c"}}, "parametersList = {'a b': 'c'}: the name 'a b' must be 1"),
    ({"parametersList": {"": "c"}}, "parametersList = {'': 'c'}: the name '' must be 1 to 32"),
    ({"parametersList": {'x"] [y': ""}}, "parametersList = "),
    ({"parametersList": {"n" * 33: ""}}, "parametersList = "),
    ({"parametersList": {"a": {"b": 1}}}, "parametersList.a = {'b': 1}: Not a valid string."),
    ({"parametersList": {"a": "\0"}}, "parametersList.a = '\\x00': Null characters are not"),
    ({"parametersList": [{"name": "a"}]}, "parametersList.0.value = None: This field is required."),
    ({"parametersList": [{"name": "a=", "value": ""}]}, "parametersList.0.name = 'a=': must be 1"),
    ({"parametersList": ["a"]}, "parametersList.0 = 'a'"),
    ({"message": "x" * 70_000}, "message = "),
    # fewer characters than bytes
    ({"parametersList": {f"p{i}": "é" * 500 + "e" * 1200 for i in range(30)}}, "message = "),
]


@pytest.mark.parametrize(("fields", "description"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_field_is_refused_and_named(api, configured, fields, description):
    configured(server("udp://127.0.0.1:1"))
    answer = api.post("/forward_log", request(**fields))
    assert answer.http == 400, answer
    assert answer.description.startswith(description), answer.description
    assert SyslogRecord.objects.count() == 0


@pytest.mark.parametrize(
    ("servers", "reason"),
    [
        ([], "no syslog server is connected"),
        ([server("udp://127.0.0.1", state=False)], "no syslog server is connected"),
        ([server("127.0.0.1:514")], "'127.0.0.1:514' is not udp://, tcp:// or tls://host:port"),
        ([server("udp://h", use_tls=True)], "'udp://h' cannot be used with TLS"),
    ],
)
def test_forwarding_is_refused_without_a_usable_server(api, configured, servers, reason):
    configured(*servers)
    answer = api.post("/forward_log", request())
    assert (answer.http, answer.status) == (200, "SyslogNotAvailable")
    assert answer.description == f"there is no syslog server to forward to: {reason}"
    assert SyslogRecord.objects.count() == 0


def test_records_go_only_to_servers_in_state_true(api, rsyslog, configured, work):
    rsyslog.forget()
    configured(server(rsyslog.url("tcp")), server(rsyslog.url("udp"), 2, state=False))
    api.post("/forward_log", request())
    assert len(work()) == 1
    assert [record["transport"] for record in rsyslog.records(1)] == ["tcp"]


def test_waiting_records_are_bounded_and_dropped_ones_counted(api, configured, work, settings):
    """The server does not answer, so the records wait."""
    configured(server("udp://127.0.0.1:9"))
    most = {"syslog_most_records": 3, "syslog_most_bytes": 2**17}
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update=most)
    before = DROPPED._value.get()
    said = [api.post("/forward_log", request()).status for _ in range(5)]
    assert said == ["Success"] * 3 + ["SyslogNotAvailable"] * 2
    assert SyslogRecord.objects.count() == 3
    assert DROPPED._value.get() == before + 2
    SyslogRecord.objects.all().delete()
    big = request(message="x" * 60_000)
    said = [api.post("/forward_log", big).status for _ in range(3)]
    assert said == ["Success", "Success", "SyslogNotAvailable"]


def test_a_record_that_just_fits_is_stored(api, configured, settings):
    """The limit includes the new record."""
    configured(server("udp://127.0.0.1:9"))
    big = request(message="x" * 60_000)
    assert api.post("/forward_log", big).status == "Success"
    size = len(SyslogRecord.objects.get().content)
    most = {"syslog_most_records": 100, "syslog_most_bytes": 3 * size - 1}
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update=most)
    said = [api.post("/forward_log", big).status for _ in range(2)]
    assert said == ["Success", "SyslogNotAvailable"], "one octet is missing"
    most = {"syslog_most_bytes": 3 * size}
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update=most)
    said = [api.post("/forward_log", big).status for _ in range(2)]
    assert said == ["Success", "SyslogNotAvailable"], "it fits exactly"
