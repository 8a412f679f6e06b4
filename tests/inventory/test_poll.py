"""The poll of late nodes, with real nodes."""

import datetime as dt
import time

import pytest
from django.db import OperationalError
from django.utils import timezone
from prometheus_client import REGISTRY

from events.models import Event
from inventory import reconcilers
from inventory.jobs import poll_late_backends
from inventory.models import Backend, BackendAddress, Portal, Ssd
from inventory.nodes.wire import Portal as NodePortal
from inventory.nodes.wire import RefusalCode
from inventory.services.node.settings import node_settings
from inventory.services.pool.identity import pool_identity
from tests.inventory.poll_steps import SILENCE_ALLOWED, poll, silent_for

pytestmark = pytest.mark.django_db(transaction=True)

NODE_LABELS = {"method": "GET", "path": "/v1/node"}


@pytest.mark.parametrize(("seconds", "is_late"), [(85, False), (95, True), (1000, True)])
def test_a_node_is_late_after_one_and_a_half_intervals(pool, seconds, is_late):
    [persistent_id] = pool(1)
    silent_for(seconds)
    assert poll() == ({persistent_id} if is_late else set())


def test_an_unavailable_node_that_answers_the_poll_becomes_available(api, pool):
    pool(1)
    silent_for(200)
    assert api.get("/backends").body[0]["state"] == "Unavailable"
    before = timezone.now()
    poll_late_backends()
    [backend] = api.get("/backends").body
    assert backend["state"] == "Available"
    assert "lastProbTime" not in backend, "it did not probe"
    assert before <= Backend.objects.get().refreshed_at <= timezone.now()
    assert Backend.objects.get().available_until == Backend.objects.get().refreshed_at + (
        SILENCE_ALLOWED
    )


def test_availability_is_recorded_although_no_node_can_be_polled(pool, monkeypatch):
    def failing():
        raise OperationalError("no locks")

    pool(1)
    monkeypatch.setattr(reconcilers, "poll_late_backends", failing)
    silent_for(200)
    with pytest.raises(OperationalError):
        poll()
    assert Event.objects.filter(kind="BackendUnavailable").exists()


@pytest.mark.parametrize("step", ["call_outcomes_record", "reading_store"])
def test_a_node_whose_state_cannot_be_stored_delays_no_other(pool, monkeypatch, step):
    first, *others = pool(3)
    stored = getattr(reconcilers, step)

    def failing(*outcomes, **reading):
        if first in repr((outcomes, reading)):
            raise OperationalError("its rows are locked")
        stored(*outcomes, **reading)

    monkeypatch.setattr(reconcilers, step, failing)
    silent_for(200)
    assert poll() == set(others)


@pytest.mark.parametrize("fault", ["down", "refuse", "fail", "lose"])
def test_a_node_that_does_not_answer_the_poll_is_not_changed(pool, fleet, fault):
    first, second = pool(2)
    silent_for(200)
    faults = fleet.nodes[0].faults
    {
        "down": faults.go_down,
        "refuse": lambda: faults.refuse(RefusalCode.UNAVAILABLE, path="/v1/node"),
        "fail": lambda: faults.fail(path="/v1/node"),
        "lose": lambda: faults.lose_reply(path="/v1/node"),
    }[fault]()
    assert poll() == {second}
    assert not Backend.objects.get(pk=first).is_available
    assert Backend.objects.get(pk=second).is_available


def test_an_answer_of_another_node_is_no_sign_of_life(pool, fleet):
    first, second = pool(2)
    silent_for(200, first)
    node = fleet.nodes[1]
    BackendAddress.objects.filter(backend=second).update(address="10.9.9.9")
    BackendAddress.objects.filter(backend=first).update(port=node.port)
    Backend.objects.filter(pk=first).update(mgmt_port=node.port)
    told = node.agent.provisioner
    Backend.objects.filter(pk=first).update(token_expires_at=timezone.now())
    assert poll() == set()
    assert not Backend.objects.get(pk=first).is_available
    assert node.agent.provisioner == told, "it is not told the other's settings"


def test_slow_nodes_do_not_prolong_a_poll(pool, fleet):
    ids = pool(6)
    silent_for(200)
    for node in fleet.nodes[:5]:
        node.faults.slow(20_000, path="/v1/node", times=0)
    started = time.monotonic()
    assert poll() == {ids[5]}
    assert time.monotonic() - started < 13


def test_the_poll_stores_drives_and_portals(pool, fleet):
    pool(1)
    silent_for(200)
    node = fleet.nodes[0]
    node.change(portals=(NodePortal(ip="10.0.0.8", port=4420),), ssds=node.engine._facts.ssds[:2])
    poll_late_backends()
    assert Ssd.objects.count() == 2
    assert Portal.objects.get().ip == "10.0.0.8"


def test_the_poll_reads_a_node_whose_refresh_job_was_lost(pool):
    first, second = pool(2)
    silent_for(10)
    Backend.objects.filter(pk=first).update(refresh_wanted_at=timezone.now())
    assert poll() == {first}
    silent_for(10, second)
    Backend.objects.update(polled_at=timezone.now() - dt.timedelta(hours=1))
    assert poll() == set(), "it was read since"


def test_a_token_is_renewed_in_the_second_half_of_its_lifetime(pool, fleet):
    pool(1)
    node = fleet.nodes[0]
    token = node.agent.provisioner.token
    for days, is_renewed in ((15.1, False), (14.9, True)):
        silent_for(10)
        Backend.objects.update(token_expires_at=timezone.now() + dt.timedelta(days=days))
        assert bool(poll()) is is_renewed
    told = node.agent.provisioner
    backend = Backend.objects.get()
    without_secrets = told.model_copy(update={"token": "", "ca_certificate": ""})
    assert without_secrets == node_settings(backend, pool_identity())
    life = backend.token_expires_at - timezone.now()
    assert dt.timedelta(days=29.9) < life <= dt.timedelta(days=30)
    assert told.token
    assert token


def test_a_token_renewal_that_the_node_refuses_is_retried(pool, fleet):
    [persistent_id] = pool(1)
    silent_for(10)
    soon = timezone.now() + dt.timedelta(days=1)
    Backend.objects.update(token_expires_at=soon)
    fleet.nodes[0].faults.refuse(RefusalCode.UNAVAILABLE, method="PUT")
    assert poll() == {persistent_id}, "it was read all the same"
    assert Backend.objects.get().token_expires_at == soon
    silent_for(10)
    assert poll() == {persistent_id}
    assert Backend.objects.get().token_expires_at > soon


def test_a_node_is_not_polled_twice_within_half_a_poll_interval(pool, fleet):
    pool(1)
    silent_for(200)
    fleet.nodes[0].faults.go_down()
    poll_late_backends()
    fleet.nodes[0].faults.come_up()
    assert poll() == set()
    Backend.objects.update(polled_at=timezone.now() - dt.timedelta(seconds=8))
    assert len(poll()) == 1


def test_nodes_polled_longest_ago_come_first(pool, monkeypatch):
    ids = pool(4)
    silent_for(200)
    Backend.objects.filter(pk__in=ids[2:]).update(polled_at=timezone.now() - dt.timedelta(hours=2))
    monkeypatch.setattr("inventory.reconcilers.POLL_AT_MOST", 2)
    assert poll() == set(ids[2:])
    assert poll() == set(ids[:2])


def test_node_calls_are_counted(pool):
    def count(outcome):
        labels = NODE_LABELS | {"outcome": outcome}
        return REGISTRY.get_sample_value("provisioner_node_calls_total", labels) or 0

    def timed():
        return REGISTRY.get_sample_value("provisioner_node_call_seconds_count", NODE_LABELS) or 0

    calls, seconds = count("OK"), timed()
    pool(3)
    assert (count("OK") - calls, timed() - seconds) == (3, 3)


def test_nodes_are_polled_and_stored_after_the_clock_stepped_back(pool):
    """All times of the row lie in the future until the clock has caught up."""
    [persistent_id] = pool(1)
    silent_for(-3600)
    Backend.objects.update(polled_at=timezone.now() + dt.timedelta(hours=1))
    assert poll() == {persistent_id}
    backend = Backend.objects.get()
    assert backend.refreshed_at <= timezone.now()
    assert backend.available_until == backend.refreshed_at + SILENCE_ALLOWED
    assert backend.polled_at <= timezone.now()
    assert poll() == set()
