"""Delivery to a real rsyslog that is down, resets connections or has a wrong certificate
(``decisions/0009``).
"""

import datetime as dt
import socket
import struct
import threading

import pytest
from django.db import connections
from django.utils import timezone

from inventory.jobs import poll_syslogs, send_syslog_records, send_waiting_syslog_records
from inventory.metrics import DROPPED
from inventory.models import SyslogRecord, SyslogServer
from inventory.syslog.transport import CLOSE_SECONDS, CONNECT_SECONDS, SEND_SECONDS
from provisioner.celery import app
from provisioner.certificates import Authority
from tests.api.syslog_steps import SUCCESS, request, server, wanted
from tests.syslog_parser import BOM

pytestmark = pytest.mark.django_db(transaction=True)


def again():
    """Retry as if the pause after a failure were over."""
    SyslogServer.objects.update(next_try_at=timezone.now())


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_records_arrive_once_their_server_is_up(api, receiver, work, transport):
    rsyslog = receiver(transport)
    rsyslog.stop()
    try:
        for number in range(60):
            body = request(message=f"record {number}", level="INFO")
            assert api.post("/forward_log", body).body == SUCCESS
        work()
        [state] = SyslogServer.objects.all()
        assert (state.failures, SyslogRecord.objects.count()) == (1, 60), "one try, then a pause"
        send_waiting_syslog_records()
        assert work() == []
    finally:
        rsyslog.start()
    again()
    send_waiting_syslog_records()
    assert len(work()) == 2, "50 at a time"
    messages = [record["message"] for record in rsyslog.records(60)]
    assert messages == [f"{BOM}record {number}" for number in range(60)], "each once, in order"
    assert SyslogRecord.objects.count() == 0
    assert SyslogServer.objects.get().failures == 0


def test_a_refusal_over_udp_is_noticed_if_the_network_reports_it(api, receiver, work):
    """A closed port on this machine answers at once; a lost datagram goes unnoticed."""
    rsyslog = receiver("udp")
    rsyslog.stop()
    try:
        api.post("/forward_log", request())
        work()
        assert SyslogRecord.objects.count() == 1
    finally:
        rsyslog.start()
    again()
    send_waiting_syslog_records()
    work()
    assert len(rsyslog.records(1)) == 1
    assert SyslogRecord.objects.count() == 0


def test_a_server_that_is_down_does_not_delay_another(api, rsyslog, configured, work):
    rsyslog.forget()
    configured(server("tcp://127.0.0.1:1"), server(rsyslog.url("tcp"), 2))
    api.post("/forward_log", request())
    work()
    assert len(rsyslog.records(1)) == 1
    assert SyslogRecord.objects.get().server.url == "tcp://127.0.0.1:1"


def test_a_record_whose_job_was_lost_is_sent_by_the_poll(api, receiver, work):
    rsyslog = receiver("tcp")
    api.post("/forward_log", request())
    app.control.purge()
    send_waiting_syslog_records()
    assert len(work()) == 1
    assert len(rsyslog.records(1)) == 1


def test_a_job_waits_for_another_one_until_it_counts_as_dead(api, receiver, work):
    rsyslog = receiver("tcp")
    api.post("/forward_log", request())
    app.control.purge()
    [state] = SyslogServer.objects.all()
    busy = timezone.now() + dt.timedelta(seconds=90)
    SyslogServer.objects.update(next_try_at=busy)  # a job is sending it, or has died
    send_syslog_records(state.pk)
    assert SyslogRecord.objects.count() == 1
    again()
    send_syslog_records(state.pk)
    send_syslog_records(state.pk)
    assert len(rsyslog.records(1)) == 1
    assert SyslogRecord.objects.count() == 0


def test_records_are_sent_once_however_long_their_server_takes(api, configured, work):
    """The server has read the record, but does not close the connection yet."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        configured(server(f"tcp://127.0.0.1:{listener.getsockname()[1]}"))
        api.post("/forward_log", request())
        app.control.purge()
        [state] = SyslogServer.objects.all()

        def send():
            try:
                send_syslog_records(state.pk)
            finally:
                connections.close_all()

        thread = threading.Thread(target=send)
        thread.start()
        stream, _ = listener.accept()
        with stream:
            assert stream.recv(65536)
            lease = SyslogServer.objects.get().next_try_at - timezone.now()
            send_syslog_records(state.pk)
            send_waiting_syslog_records()
            assert work() == []
        thread.join()
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert SyslogRecord.objects.count() == 0
    longest = CONNECT_SECONDS + 2 * SEND_SECONDS + CLOSE_SECONDS
    assert lease.total_seconds() > 2 * longest, "another job would send them again"


def test_a_job_that_counts_as_dead_does_not_end_the_lease_of_the_next_one(api, configured, work):
    """It was only slow. It deletes the records that it sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        configured(server(f"tcp://127.0.0.1:{listener.getsockname()[1]}"))
        api.post("/forward_log", request())
        app.control.purge()
        [state] = SyslogServer.objects.all()
        next_lease = timezone.now() + dt.timedelta(seconds=80)

        def read():
            stream, _ = listener.accept()
            with stream:
                assert stream.recv(65536)
                SyslogServer.objects.update(next_try_at=next_lease, failures=3)
            connections.close_all()

        thread = threading.Thread(target=read)
        thread.start()
        send_syslog_records(state.pk)
        thread.join()
    state.refresh_from_db()
    assert (state.next_try_at, state.failures) == (next_lease, 3)
    assert SyslogRecord.objects.count() == 0


def test_a_record_is_dropped_after_the_configured_time(api, configured, work, settings):
    configured(server("tcp://127.0.0.1:1"))
    api.post("/forward_log", request())
    api.post("/forward_log", request())
    work()
    old = timezone.now() - dt.timedelta(minutes=settings.ENVIRONMENT.syslog_retry_minutes)
    SyslogRecord.objects.filter(pk=SyslogRecord.objects.earliest("pk").pk).update(created_at=old)
    before = DROPPED._value.get()
    send_waiting_syslog_records()
    assert SyslogRecord.objects.count() == 1
    assert DROPPED._value.get() == before + 1


def test_pauses_grow_to_five_minutes(api, configured):
    configured(server("tcp://127.0.0.1:1"))
    api.post("/forward_log", request())
    pauses = []
    for _ in range(8):
        again()
        send_syslog_records(SyslogServer.objects.get().pk)
        pauses.append(
            round((SyslogServer.objects.get().next_try_at - timezone.now()).total_seconds())
        )
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300]


def test_records_are_deleted_with_their_server(api, fleet, configured):
    persistent_id = configured(server("tcp://127.0.0.1:1"), server("tcp://127.0.0.1:2", 2))
    api.post("/forward_log", request())
    fleet.nodes[0].set_syslogs([server("tcp://127.0.0.1:2", 2)])
    wanted(persistent_id)
    poll_syslogs()
    assert SyslogRecord.objects.get().server.url == "tcp://127.0.0.1:2"


@pytest.mark.parametrize("certificate", ["", "other", "garbage"])
def test_tls_trusts_the_certificate_given_and_no_other(
    api, rsyslog, configured, work, certificate, tmp_path
):
    rsyslog.forget()
    pem = {
        "": "",
        "other": Authority.of(tmp_path / "other").path.read_text(),
        "garbage": "-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n",
    }[certificate]
    configured(server(rsyslog.url("tls"), certificate=pem))
    api.post("/forward_log", request())
    work()
    assert SyslogRecord.objects.count() == 1
    assert SyslogServer.objects.get().failures == 1


def test_tls_trusts_a_server_s_own_certificate_and_needs_its_name(
    api, rsyslog, configured, work, authority
):
    rsyslog.forget()
    own = authority.server("syslog", ["127.0.0.1"])[0].read_text()
    tcp_with_tls = rsyslog.url("tls").replace("tls:", "tcp:")
    other_name = tcp_with_tls.replace("127.0.0.1", "localhost")
    configured(
        server(tcp_with_tls, use_tls=True, certificate=own),
        server(other_name, 2, use_tls=True, certificate=own),
    )
    api.post("/forward_log", request())
    work()
    assert len(rsyslog.records(1)) == 1
    assert SyslogRecord.objects.get().server.url == other_name


def test_records_are_sent_again_after_a_reset_connection(api, configured, work):
    """The server buffers the bytes and closes without reading: nothing may be lost."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        configured(server(f"tcp://127.0.0.1:{listener.getsockname()[1]}"))
        api.post("/forward_log", request())
        lingerless = struct.pack("ii", 1, 0)

        def reset():
            connection, _ = listener.accept()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingerless)
            connection.close()

        thread = threading.Thread(target=reset)
        thread.start()
        work()
        thread.join()
    assert SyslogRecord.objects.count() == 1
