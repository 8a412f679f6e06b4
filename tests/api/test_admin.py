"""The administration pages: every model, no N+1, nothing that can be broken there."""

import datetime as dt

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from inventory.models import (
    Backend,
    Host,
    InventorySample,
    License,
    Recovery,
    ReleasedSlot,
    Ssd,
    SyslogServer,
    SyslogSource,
)
from provisioner.access.models import AuthorizationServer, RevokedToken
from provisioner.common.admin import ReadOnlyAdmin, share, size
from provisioner.common.models import LifeState
from tasks.models import JobRun, Task, TaskState, TaskType
from volumes.models import (
    Drain,
    NamespaceId,
    Protocol,
    ProvisioningType,
    Publication,
    Replica,
    ReplicaMove,
    Tenant,
    Turn,
    Volume,
    target_nqn,
)

GIB = 1024**3

MODELS = [model for model, page in admin.site._registry.items() if isinstance(page, ReadOnlyAdmin)]


@pytest.fixture
def browser(db):
    """A superuser at the pages."""
    client = Client(headers={"host": "localhost"})
    client.defaults["wsgi.url_scheme"] = "https"
    client.force_login(get_user_model().objects.create_superuser("root", password="pw"))
    return client


def make_backend(number, now):
    backend = Backend.objects.create(
        persistent_id=f"aa:{number}",
        name=f"kumo-{number}",
        rack=f"r{number}",
        zone="z1",
        version="3.22",
        target_driver_version="1.0",
        authentication_mode="LOCAL",
        total_iops=1_000_000,
        used_iops=250_000 * (number % 4),
        total_bw=10 * GIB,
        used_bw=GIB,
        probe_interval=60,
        last_probe_at=now,
        available_until=now + dt.timedelta(minutes=3 if number % 3 else -3),
        boot_id="b",
        refreshed_at=now,
        token_expires_at=now + dt.timedelta(days=30),
        controller_slot=number + 1,
    )
    backend.addresses.create(position=0, address=f"10.0.0.{number}", port=443)
    backend.portals.create(ip=f"10.1.0.{number}", port=4420, transport="TCP")
    for slot in range(3):
        backend.ssds.create(
            ssd_id=f"S{number}{slot}",
            name=f"nvme{slot}",
            capacity_bytes=1024 * GIB,
            used_bytes=(number * 100 + slot * 40) % 1024 * GIB,
        )
    return backend


def make_volume(number, backends, tenant, host, now):
    state = list(LifeState)[number % 3]
    deadline = None if state is LifeState.READY else now + dt.timedelta(minutes=number - 5)
    volume = Volume.objects.create(
        uuid=f"volume-{number}",
        tenant=tenant,
        alias=f"database-{number}",
        capacity_bytes=(number + 1) * 10 * GIB,
        provisioning_type=ProvisioningType.THICK,
        claimed_bytes=(number + 1) * 10 * GIB,
        num_replicas=2,
        protocol=Protocol.NVMEOF,
        block_size=4096,
        state=state,
        deadline_at=deadline,
    )
    publication = volume.publications.create(host=host, state=state, deadline_at=deadline)
    for backend in backends[:2]:
        replica = volume.replicas.create(
            uuid=f"{volume.uuid}-{backend.pk}",
            backend=backend,
            claimed_bytes=volume.claimed_bytes,
            state=state,
            deadline_at=deadline,
        )
        replica.sub_volumes.create(
            ssd=backend.ssds.first(),
            capacity_bytes=volume.capacity_bytes,
            claimed_bytes=volume.claimed_bytes,
        )
        snapshot = replica.snapshots.create(
            uuid=f"snapshot-{replica.uuid}",
            tenant=tenant,
            alias=f"snapshot-{replica.uuid}",
            volume=volume,
            capacity_bytes=volume.capacity_bytes,
            claimed_bytes=volume.claimed_bytes,
            state=state,
            deadline_at=deadline,
        )
        snapshot.sub_volumes.create(
            ssd=backend.ssds.first(),
            capacity_bytes=volume.capacity_bytes,
            claimed_bytes=volume.claimed_bytes,
        )
        replica.exports.create(
            publication=None if state is LifeState.DELETING else publication,
            target_nqn=target_nqn(host.uuid),
            nsid=number + 1,
            host_nqn=host.nqn,
            state=state,
            deadline_at=deadline,
        )


def make_rows(count):
    """Rows of every model, so that there are ``count`` of most."""
    now = timezone.now()
    tenant, _ = Tenant.objects.get_or_create(
        tenant_id="t1",
        defaults={"name": "acme", "capacity_bytes": 4096 * GIB, "used_bytes": 512 * GIB},
    )
    there = Host.objects.count()
    new = [make_backend(number, now) for number in range(there, max(count, 2))]
    backends = new if len(new) > 1 else list(Backend.objects.all())
    AuthorizationServer.objects.get_or_create(token_url="https://oidc.test/token", public_key="k")
    SyslogSource.objects.get_or_create(defaults={"backend": backends[0]})
    License.objects.get_or_create()
    for number in range(there, count):
        InventorySample.objects.create(backends=[{"hardwareId": f"aa:{number}"}])
        Recovery.objects.create(after_generation=number, until_generation=2 * number)
        RevokedToken.objects.create(token_id=f"token-{number}", expires_at=now)
        NamespaceId.objects.create(target_nqn="nqn", nsid=number + 1)
        ReleasedSlot.objects.create(persistent_id=f"released-{number}", controller_slot=number + 1)
        host = Host.objects.create(
            uuid=f"host-{number}",
            name=f"compute-{number}",
            nqn=f"nqn.2014-08.org.nvmexpress:{number}",
            client_type="Agent",
            version="3.22",
            duration=20,
            last_probe_at=now,
            available_until=now + dt.timedelta(minutes=1),
        )
        make_volume(number, backends, tenant, host, now)
        Drain.objects.create(
            backend=(new or backends)[number % len(backends)], was_in_use=True, replicas_before=7
        )
        replica = Replica.objects.filter(volume__uuid=f"volume-{number}")[0]
        ReplicaMove.objects.create(replica=replica, refusal="no room", task_id="t", again_at=now)
        JobRun.objects.create(job=f"job-{number}")
        Turn.objects.create(job=f"job-{number}", until=now, unbroken_since=now)
        backends[0].orphans.create(kind="volume", uuid=f"stray-{number}", generation=1)
        state = list(TaskState)[number % 5]
        ended = state in {TaskState.FINISHED, TaskState.FAILED, TaskState.ABORTED}
        server = SyslogServer.objects.create(
            node_server_id=number,
            url=f"tcp://10.2.0.{number}:601",
            name=f"log-{number}",
            state=True,
            use_tls=False,
        )
        server.records.create(content=b"<14>1 - h a - - - m")
        Task.objects.create(
            type=TaskType.REMOTE_MIGRATION,
            state=state,
            host_id=host.uuid,
            volume_id=f"volume-{number}",
            progress=number * 10 % 101,
            lease_until=None if ended else now + dt.timedelta(minutes=number - 1),
            ended_at=now if ended else None,
        )


def page(model, kind, *arguments):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{kind}", args=arguments)


def test_every_model_has_its_pages():
    from django.apps import apps

    ours = {
        m
        for app in ("provisioner", "inventory", "tasks", "volumes")
        for m in apps.get_app_config(app).get_models()
    }
    assert set(MODELS) == ours


def cost(browser, url):
    """How many queries a page takes."""
    with CaptureQueriesContext(connection) as queries:
        assert browser.get(url).status_code == 200
    return len(queries)


@pytest.mark.parametrize("model", MODELS)
def test_a_list_costs_the_same_for_more_rows(browser, model):
    rows = page(model, "changelist")
    browser.get(rows)
    make_rows(2)
    before = cost(browser, rows)
    make_rows(12)
    assert f"{model.objects.count()} " in browser.get(rows).text
    assert cost(browser, rows) == before <= 10


@pytest.mark.parametrize("model", MODELS)
def test_a_row_s_page_is_cheap(browser, model):
    make_rows(4)
    for row in model.objects.all():
        assert cost(browser, page(model, "change", quote(row.pk))) <= 13


@pytest.mark.parametrize("model", MODELS)
def test_nothing_can_be_changed(browser, model):
    make_rows(1)
    row = model.objects.first()
    assert browser.get(page(model, "add")).status_code == 403
    assert browser.post(page(model, "change", quote(row.pk)), {}).status_code == 403
    assert browser.post(page(model, "delete", quote(row.pk)), {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
    browser.post(page(model, "changelist"), chosen)
    assert model.objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize("model", MODELS)
def test_search_and_filters(browser, model):
    make_rows(3)
    registered = admin.site._registry[model]
    if registered.search_fields:
        assert browser.get(page(model, "changelist"), {"q": "no such thing"}).status_code == 200
    queries = [
        {"health": "Degraded"},
        {"unfinished": "yes"},
        {"unfinished": "overdue"},
        {"lease": "overdue"},
    ]
    for query in queries:
        if query.keys() & {getattr(f, "parameter_name", None) for f in registered.list_filter}:
            assert browser.get(page(model, "changelist"), query).status_code == 200


def test_what_an_unfinished_row_waits_for(browser):
    make_rows(12)
    text = browser.get(page(Volume, "changelist")).text
    assert "overdue for" in text
    overdue = browser.get(page(Volume, "changelist"), {"unfinished": "overdue"}).text
    rows = Volume.objects.filter(deadline_at__lt=timezone.now())
    assert 0 < rows.count() < 12
    for volume in Volume.objects.all():
        assert (f">{volume.alias}<" in overdue) == (volume in rows)


def test_states_of_nodes(browser):
    make_rows(4)
    names = {"Available": {1, 2}, "Unavailable": {0, 3}}
    for state, numbers in names.items():
        text = browser.get(page(Backend, "changelist"), {"state": state}).text
        assert {n for n in range(4) if f">kumo-{n}<" in text} == numbers


def test_health_of_nodes(browser):
    make_rows(4)
    Drain.objects.all().delete()
    Backend.objects.filter(pk="aa:1").update(in_use=False)
    names = {"Unavailable": {0, 3}, "Cordoned": {1}, "Available": {2}, "Draining": set()}
    for health, numbers in names.items():
        text = browser.get(page(Backend, "changelist"), {"health": health, "q": "kumo"}).text
        assert {n for n in range(4) if f">kumo-{n}<" in text} == numbers
    text = browser.get(page(Backend, "change", quote("aa:1"))).text
    assert "it is cordoned: nothing new is placed on it" in text


def test_health_of_volumes(browser):
    make_rows(4)
    Volume.objects.update(state=LifeState.READY, deadline_at=None)
    Replica.objects.update(state=LifeState.READY, deadline_at=None)
    # all volumes are on nodes 0, which is away, and 1
    Backend.objects.filter(pk="aa:1").update(available_until=timezone.now() + dt.timedelta(hours=1))
    Volume.objects.filter(uuid="volume-1").update(num_replicas=1)
    names = {"Degraded": {0, 2, 3}, "Healthy": {1}, "Faulted": set()}
    for health, numbers in names.items():
        text = browser.get(page(Volume, "changelist"), {"health": health, "q": "database"}).text
        assert {n for n in range(4) if f">database-{n}<" in text} == numbers
    degraded = Volume.objects.get(uuid="volume-0")
    assert "1 of 2 replicas can be used" in browser.get(page(Volume, "change", degraded.pk)).text


def test_capacity_is_the_sum_over_the_drives(browser):
    make_rows(2)
    text = browser.get(page(Backend, "changelist"), {"q": "10.0.0.1"}).text
    # drives of 100, 140 and 180 GiB used, of 1 TiB each
    assert "14 % of 3.0 TiB" in text


def test_related_objects_are_linked(browser):
    make_rows(2)
    volume, ssd = Volume.objects.get(uuid="volume-1"), Ssd.objects.all()[0]
    text = browser.get(page(Volume, "change", volume.pk)).text
    links = [
        f"{page(Replica, 'changelist')}?volume={volume.pk}",
        f"{page(Publication, 'changelist')}?volume={volume.pk}",
        f"{page(Task, 'changelist')}?volume_id=volume-1",
        page(Tenant, "change", "t1"),
        page(Backend, "change", quote("aa:0")),
        page(Host, "change", "host-1"),
    ]
    assert [link for link in links if link not in text] == []
    for link in links[:3]:
        assert browser.get(link).status_code == 200
    assert f"?ssd={ssd.pk}" in browser.get(page(Ssd, "change", ssd.pk)).text


def test_secrets_are_not_shown(browser):
    AuthorizationServer.objects.create(
        token_url="https://oidc.test/token",
        public_key="k",
        provisioner_client_secret="stored-secret-1",
        backends_client_secret="stored-secret-2",
    )
    for kind, arguments in (("changelist", ()), ("change", (1,))):
        text = browser.get(page(AuthorizationServer, kind, *arguments)).text
        assert "https://oidc.test/token" in text
        assert "stored-secret" not in text


def test_the_way_in(live_server):
    import urllib3

    answer = urllib3.request("GET", f"{live_server.url}/admin", redirect=False)
    assert (answer.status, answer.headers["Location"]) == (302, "/admin/")
    answer = urllib3.request("GET", f"{live_server.url}/admin/")
    assert answer.status == 200
    assert b"Provisioner" in answer.data


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (100 * GIB, "100 GiB"),
        (1024 * GIB, "1.0 TiB"), (2**63 - 1, "8.0 EiB"), (2**90, "1073741824 EiB"),
    ],
)  # fmt: skip
def test_sizes_for_people(count, text):
    assert size(count) == text


def test_shares():
    assert share(5, 0) == "5 (no limit)"
    assert share(GIB, 4 * GIB, size).endswith("</meter> 25 % of 4.0 GiB")
