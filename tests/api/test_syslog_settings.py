"""Syslog settings that change on the node while they are read."""

import datetime as dt

import pytest
from django.db import connections
from django.utils import timezone

from inventory.models import Backend, SyslogServer
from inventory.services.node.clients import node_transport
from inventory.services.syslog.settings import syslogs_read
from tests.api.syslog_steps import server, wanted

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_change_that_is_reported_during_the_reading_stays_due(configured):
    persistent_id = configured(server("udp://192.0.2.1"))
    reported_at = timezone.now() + dt.timedelta(seconds=60)
    Backend.objects.update(syslogs_wanted_at=reported_at)
    syslogs_read(persistent_id=persistent_id)
    assert Backend.objects.get().syslogs_wanted_at == reported_at


def test_settings_that_were_read_earlier_do_not_replace_later_ones(configured, fleet, monkeypatch):
    """A worker has read the node, and is slow. Meanwhile the settings change, and another worker
    reads and stores them.
    """
    persistent_id = configured(server("udp://192.0.2.1"))
    calls = []

    def read_again(address, method, template, outcome, seconds):
        calls.append(template)
        if len(calls) == 1:
            fleet.nodes[0].set_syslogs([server("udp://192.0.2.2")])
            wanted(persistent_id)
            syslogs_read(persistent_id=persistent_id)
            connections.close_all()

    monkeypatch.setattr(node_transport(), "observers", [read_again])
    wanted(persistent_id)
    syslogs_read(persistent_id=persistent_id)
    assert calls == ["/v1/node/syslogs"] * 2
    assert SyslogServer.objects.get().url == "udp://192.0.2.2"
    assert Backend.objects.get().syslogs_wanted_at is None
