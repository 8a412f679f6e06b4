"""Concurrent calls about the inventory and tasks, with real transactions."""

import datetime as dt
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from django.db import connection
from django.utils import timezone
from prometheus_client import REGISTRY

from events.models import Event
from inventory.jobs import poll_late_backends
from inventory.models import Backend, BackendAddress, ClientType, Host, License, Portal, Ssd
from inventory.services import licenses
from inventory.services.host_probes import probes_store
from inventory.services.hosts import HostReport, NqnTaken
from inventory.services.licenses import InstallationActive, NoBackendLicensed
from inventory.services.node.checks import BackendKnown, HostHasBackend
from inventory.services.node.probe import ProbeReport, backend_probe
from inventory.services.node.register import backend_add, backend_update
from inventory.services.node.state import backend_refresh
from provisioner.common import clock, writes
from tasks.models import TRANSITIONS, Task, TaskState, TaskType
from tasks.services import TaskEnded, VolumeHasTask, task_create, task_update
from tests.api.licenses import believe, issued
from volumes.services.host import repeated
from volumes.services.host.report import host_report

pytestmark = pytest.mark.django_db(transaction=True)

NQN = "nqn.2014-08.org.nvmexpress:uuid:"


def at_once(*functions):
    """Run all at the same moment, each in a thread; the results or exceptions, in order."""
    barrier = threading.Barrier(len(functions))

    def run(function):
        barrier.wait()
        try:
            return function()
        except Exception as error:  # noqa: BLE001 - the test judges it
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(functions)) as threads:
        return list(threads.map(run, functions))


def host_probes(uuid, nqn, duration=30):
    report = HostReport(
        uuid=uuid,
        name=uuid,
        nqn=nqn,
        client_type=ClientType.AGENT,
        version="1",
        duration=duration,
    )
    return lambda: host_report(report)


def test_simultaneous_first_probes_create_one_host():
    assert at_once(*[host_probes("h", NQN + "h")] * 8) == [None] * 8
    assert Host.objects.count() == 1
    assert Event.objects.filter(kind="HostAdded").count() == 1


def test_simultaneous_hosts_with_one_nqn_create_one_host():
    outcomes = at_once(*[host_probes(f"h{n}", NQN + "same") for n in range(8)])
    assert Counter(map(type, outcomes)) == {type(None): 1, NqnTaken: 7}
    assert Host.objects.count() == 1
    assert Event.objects.filter(kind="HostAdded").count() == 1


def test_a_probe_that_is_stored_late_does_not_undo_a_newer_one():
    host_probes("h", NQN + "newer")()
    late = HostReport(
        uuid="h", name="h", nqn=NQN + "h", client_type=ClientType.AGENT, version="1", duration=30
    )
    assert probes_store([(late, clock.now() - dt.timedelta(seconds=1))]) == ([], [])
    assert probes_store([(late, clock.now())]) == ([late], [])
    assert Host.objects.get().nqn == NQN + "newer"


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.parametrize("statement", range(1, 7))
def test_an_older_probe_of_a_deleted_host_does_not_undo_a_newer_one(
    statement, base_rows, monkeypatch
):
    """The newer one arrives after this statement, before the older one has created the host."""
    for module in (writes, repeated):
        monkeypatch.setattr(module, "STALE_SECONDS", 60)
    writes.writes_barred_now()
    probes = repeated.RepeatedProbes()
    probes.store()  # so probes may be answered from memory
    older, newer = (
        HostReport(
            uuid="h", name=name, nqn=NQN, client_type=ClientType.AGENT, version="1", duration=30
        )
        for name in ("older", "newer")
    )
    probes.admit(older)
    assert probes.repeat(older)
    left = statement

    def arrive(execute, *arguments):
        nonlocal left
        result = execute(*arguments)
        left -= 1
        if left == 0:
            at_once(partial(host_report, newer))
            probes.admit(newer)
        return result

    with connection.execute_wrapper(arrive):
        probes.store()
    assert left <= 0
    probes.store()
    assert Host.objects.get().name == "newer"
    assert not Event.objects.filter(kind="HostNqnChanged").exists()


def test_a_task_is_ended_by_one_of_many_simultaneous_reports():
    task = task_create(type=TaskType.REMOTE_MIGRATION, host_id="h", stoppable=True)
    ends = [TaskState.FINISHED, TaskState.FAILED, TaskState.ABORTED] * 3

    def end(state):
        return lambda: task_update(
            task_id=task.pk, host_id="h", state=state, task_status=state.value
        )

    outcomes = at_once(*map(end, ends))
    assert Counter(map(type, outcomes)) == {type(None): 1, TaskEnded: 8}
    task.refresh_from_db()
    assert task.state == ends[outcomes.index(None)]
    assert task.task_status == task.state
    assert not TRANSITIONS[TaskState(task.state)]


def test_progress_never_falls_when_reports_overtake_each_other():
    task = task_create(type=TaskType.REMOTE_MIGRATION, host_id="h")
    reports = [
        lambda percent=percent: task_update(task_id=task.pk, host_id="h", progress=percent)
        for percent in (10, 90, 40, 70, 20, 60, 30, 80)
    ]
    assert at_once(*reports) == [None] * 8
    assert Task.objects.get().progress == 90


def test_simultaneous_tasks_for_a_volume_create_one():
    def create():
        return task_create(type=TaskType.REMOTE_MIGRATION, volume_id="v").state

    outcomes = at_once(*[create] * 8)
    assert Counter(map(type, outcomes)) == {TaskState: 1, VolumeHasTask: 7}
    assert Task.objects.count() == 1


def adds(node, **fields):
    return lambda: backend_add(mgmt_ips=[node.address], mgmt_port=node.port, **fields).pk


def test_simultaneous_adds_of_one_node_add_it_once(fleet):
    node = fleet.nodes[0]
    outcomes = at_once(*[adds(node, rack=f"r{n}") for n in range(6)])
    assert Counter(map(type, outcomes)) == {str: 1, BackendKnown: 5}
    backend = Backend.objects.get()
    assert backend.rack == f"r{[type(o) for o in outcomes].index(str)}"
    assert (BackendAddress.objects.count(), Ssd.objects.count(), Portal.objects.count()) == (
        1,
        4,
        1,
    )


def test_simultaneous_adds_for_one_host_add_one_backend(fleet):
    outcomes = at_once(*[adds(node, host_id="h") for node in fleet.nodes])
    assert Counter(map(type, outcomes)) == {str: 1, HostHasBackend: 5}
    assert Backend.objects.count() == 1


def test_adds_at_once_never_exceed_the_licence(fleet):
    License.objects.update(max_backends=2)
    outcomes = at_once(*[adds(node) for node in fleet.nodes])
    assert Counter(map(type, outcomes)) == {str: 2, NoBackendLicensed: 4}
    assert Backend.objects.count() == 2


def test_one_of_several_licences_is_installed_at_once(base_rows, settings, monkeypatch):
    believe(settings)
    monkeypatch.setattr(licenses, "ANSWER_SECONDS", 0.0)
    texts = [issued(maxBackends=number) for number in range(1, 7)]
    outcomes = at_once(*(partial(licenses.license_install, text=text) for text in texts))
    assert Counter(map(type, outcomes)) == {str: 1, InstallationActive: 5}
    assert Task.objects.count() == 1


def probes(persistent_id, version):
    return lambda: (
        backend_probe(
            report=ProbeReport(
                persistent_id=persistent_id,
                version=version,
                target_driver_version="3",
                certified=True,
                authentication_mode="LOCAL",
                total_iops=9,
                total_bw=9,
                total_capacity=4 * 2**40,
                number_of_ssds=4,
                changes=0,
            )
        ).pk
    )


def test_probes_and_updates_at_once_lose_nothing(pool):
    [persistent_id] = pool(1)
    changes = [{"rack": "r"}, {"zone": "z"}, {"region": "e"}, {"in_use": False}, {"host_id": "h"}]
    updates = [
        lambda change=change: backend_update(persistent_id=persistent_id, changes=change)
        for change in changes
    ]
    outcomes = at_once(*updates, *[probes(persistent_id, "3.9")] * 5)
    assert outcomes == [None] * 5 + [persistent_id] * 5
    backend = Backend.objects.get()
    assert (backend.rack, backend.zone, backend.region) == ("r", "z", "e")
    assert (backend.in_use, backend.host_id) == (False, "h")
    assert (backend.version, backend.total_iops) == ("3.9", 9)


def test_simultaneous_updates_to_one_host_change_one_backend(pool):
    ids = pool(6)
    updates = [
        lambda persistent_id=persistent_id: backend_update(
            persistent_id=persistent_id, changes={"host_id": "h"}
        )
        for persistent_id in ids
    ]
    assert Counter(map(type, at_once(*updates))) == {type(None): 1, HostHasBackend: 5}
    assert Backend.objects.filter(host_id="h").count() == 1


def test_simultaneous_refreshes_store_each_drive_once(pool, fleet):
    [persistent_id] = pool(1)
    fewer = fleet.nodes[0].engine._facts.ssds[1:]
    more = (*fewer, fewer[0].model_copy(update={"ssd_id": "new"}))
    fleet.nodes[0].change(ssds=more)
    outcomes = at_once(*[lambda: backend_refresh(persistent_id=persistent_id)] * 8)
    assert outcomes == [None] * 8
    assert set(Ssd.objects.values_list("ssd_id", flat=True)) == {ssd.ssd_id for ssd in more}


def node_reads():
    labels = {"method": "GET", "path": "/v1/node", "outcome": "OK"}
    return REGISTRY.get_sample_value("provisioner_node_calls_total", labels)


def test_polls_at_once_choose_different_nodes(pool):
    pool(6)
    past = timezone.now() - dt.timedelta(hours=1)
    Backend.objects.update(available_until=past, refreshed_at=past, polled_at=past)
    before = node_reads()
    assert at_once(*[poll_late_backends] * 4) == [None] * 4
    assert node_reads() - before == 6
    assert Backend.objects.available().count() == 6
