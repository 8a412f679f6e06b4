"""Helpers of the tests of syslog: requests, and a pool that sends to a real rsyslog."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from inventory.models import Backend
from inventory.nodes.syslogs import SyslogServer as NodeServer
from provisioner.celery import app
from tests.programs import tool
from tests.rsyslog import Rsyslog

SUCCESS = {"status": "Success", "description": "Success"}


def request(**fields):
    """Return the example request of the reference."""
    return {
        "loggingType": "COMMAND",
        "level": "ERROR",
        "host": "TestHost",
        "appName": "TestApp",
        "message": "TestMessage-forwardLogTest",
        "parametersList": {"Test": "TestValue"},
    } | fields


def server(url, number=1, **fields):
    plain = {"id": number, "name": f"log{number}", "url": url, "state": True, "use_tls": False}
    return NodeServer(**(plain | fields))


def wanted(persistent_id):
    """Mark the syslog settings as to be read, like a probe that reports a change (test_probe.py
    tests the probe).
    """
    Backend.objects.filter(pk=persistent_id).update(syslogs_wanted_at=timezone.now())


@pytest.fixture(scope="session")
def rsyslog(authority, request):
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        installed = Path(tool("rsyslogd"))
    certificate, key = authority.server("syslog", ["127.0.0.1"])
    folder = Path(tempfile.mkdtemp(prefix="provisioner-rsyslog-"))
    program = None
    try:
        program = Rsyslog(installed, folder, certificate, key, authority.path)
        program.start()
        yield program
    finally:
        if program is not None:
            program.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def work():
    """Run the jobs that wait on the broker, and the jobs that they request. Returns their names."""
    app.control.purge()

    def run():
        done = []
        with app.connection_for_read() as connection, connection.channel() as any_channel:
            channel: Any = any_channel
            while message := channel.basic_get("celery", no_ack=True):
                name = message.headers["task"]
                app.tasks[name](*message.payload[0])
                done.append(name)
        return done

    yield run
    app.control.purge()


@pytest.fixture
def configured(pool, fleet, work):
    """Configure these servers on the first node, and add the node to the pool."""

    def configure(*servers):
        fleet.nodes[0].set_syslogs(servers)
        [persistent_id] = pool(1)
        work()
        return persistent_id

    return configure


@pytest.fixture
def receiver(rsyslog, configured, authority):
    """Start an rsyslog, and a pool that sends to it by these transports."""

    def receive(*transports):
        rsyslog.forget()
        certificate = authority.path.read_text()
        configured(
            *[
                server(rsyslog.url(name), number, certificate=certificate)
                for number, name in enumerate(transports)
            ]
        )
        return rsyslog

    return receive
