"""The overview, the topology, and the pages of objects in the console show the right data."""

import datetime as dt
import html
import re
from urllib.parse import urlencode

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from events.kinds import Severity
from events.models import Event
from inventory.models import Backend, Host, InventorySample, License, Ssd
from inventory.sample_selectors import capacity_trend
from provisioner.common.models import LifeState
from provisioner.console.attention import attention_list
from provisioner.console.overview import capacity_read
from provisioner.console.topology import topology_read
from tasks.models import Task, TaskState
from tests.api.admin_login_steps import of_role
from tests.api.admin_pages import GIB, make_rows, page
from volumes.health import Health
from volumes.health_selectors import pool_counts_cache
from volumes.models import Drain, Orphan, Replica, Snapshot, Tenant, Volume

DAY = dt.timedelta(days=1)


@pytest.fixture
def rows(db):
    make_rows(4)
    Volume.objects.update(state=LifeState.READY, deadline_at=None)
    Replica.objects.update(state=LifeState.READY, deadline_at=None)
    pool_counts_cache.forget()
    yield
    pool_counts_cache.forget()


def words(answer):
    """Return the text of a page, without markup."""
    body = re.sub(r"<(script|style).*?</\1>", " ", answer.text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_the_overview_counts_volumes_nodes_and_hosts_by_state(browser, rows):
    text = words(browser.get("/admin/"))
    # nodes 0 and 3 are silent; all replicas are on nodes 0 and 1
    assert "Volumes 4 4 Degraded Nodes 4 2 Unavailable 2 Draining Hosts 4 4 Available" in text
    assert "Pool Degraded 4 volumes Degraded, 2 nodes Unavailable" in text


def test_capacity_is_reserved_free_or_barred(rows):
    Drain.objects.all().delete()
    Backend.objects.filter(name="kumo-2").update(in_use=False)
    drives = Ssd.objects.all()
    free = sum(s.capacity_bytes - s.used_bytes for s in drives.filter(backend__name="kumo-1"))
    found = capacity_read()
    assert found.total == 12 * 1024 * GIB
    assert found.reserved == sum(drive.used_bytes for drive in drives)
    assert found.free == free, "nodes 0 and 3 are silent, node 2 is cordoned"
    assert found.barred == found.total - found.reserved - found.free


def sample(age, used, capacity=1000):
    InventorySample.objects.create(
        backends=[], taken_at=timezone.now() - age, used_bytes=used, capacity_bytes=capacity
    )


def test_the_forecast_continues_the_trend_of_the_samples(db):
    for days, used in ((3, 100), (2, 200), (1, 300), (0, 400)):
        sample(days * DAY, used)
    trend = capacity_trend()
    assert trend is not None
    assert trend.days_left is not None
    assert round(trend.bytes_per_day) == 100
    assert round(trend.days_observed) == 3
    assert round(trend.days_left) == 6


def test_the_forecast_has_no_end_if_the_use_does_not_grow(db):
    for days in (2, 1, 0):
        sample(days * DAY, 500)
    trend = capacity_trend()
    assert trend is not None
    assert trend.days_left is None


def test_few_or_old_samples_give_no_forecast(db):
    InventorySample.objects.create(backends=[])
    sample(2 * DAY, 1)
    sample(DAY, 2)
    assert capacity_trend() is None
    sample(DAY / 2, 3)
    assert capacity_trend() is not None


def test_what_needs_attention_links_to_a_page_that_shows_it(browser, rows):
    Backend.objects.filter(name="kumo-0").update(call_error="connection refused")
    Host.objects.filter(name="compute-1").update(available_until=timezone.now() - DAY)
    Task.objects.filter(volume_id="volume-3").update(
        state=TaskState.FAILED, ended_at=timezone.now(), description="no room"
    )
    Tenant.objects.filter(pk="t1").update(used_bytes=3900 * GIB)
    Orphan.objects.update(kept=True)
    License.objects.update(expires_at=timezone.now() + 7 * DAY + dt.timedelta(hours=1))
    numbers = {Health.FAULTED: 1, Health.DEGRADED: 2, Health.UNKNOWN: 3}
    found = attention_list(numbers, 85.0)
    expected = {
        "1 volume Faulted": "danger",
        "Node kumo-0 is Unavailable": "danger",
        "Node kumo-3 is Unavailable": "danger",
        "2 volumes Degraded": "warning",
        "3 volumes Unknown": "warning",
        "1 host Unavailable": "warning",
        "1 task failed since yesterday": "warning",
        "4 replicas cannot move": "warning",
        "The pool is 85 % full": "warning",
        "The budget of acme is nearly used up": "warning",
        "4 orphans wait for a decision": "warning",
        "The licence expires in 7 d": "warning",
        "Node kumo-0 is being drained": "info",
        "Node kumo-1 is being drained": "info",
        "Node kumo-2 is being drained": "info",
        "Node kumo-3 is being drained": "info",
    }
    assert {one.title: one.tone for one in found} == expected
    assert [one.tone for one in found] == sorted(
        (one.tone for one in found), key=["danger", "warning", "info"].index
    )
    texts = {one.title: one.text for one in found}
    assert "connection refused" in texts["Node kumo-0 is Unavailable"]
    assert "no room" in texts["1 task failed since yesterday"]
    for one in found:
        assert browser.get(one.link).status_code == 200, one
    [failed] = [one.link for one in found if "task failed" in one.title]
    assert "no room" not in browser.get("/admin/tasks/task/?state__exact=IDLE").text
    assert words(browser.get(failed)).count("FAILED") >= 1


def test_a_pool_in_order_needs_no_attention(browser, db):
    text = words(browser.get("/admin/"))
    assert "Nothing. All is well." in text
    assert "No task is active." in text
    assert "all volumes and nodes are healthy" in text


def test_the_overview_needs_the_same_queries_for_more_rows(browser, rows):
    def cost():
        pool_counts_cache.forget()
        with CaptureQueriesContext(connection) as queries:
            assert browser.get("/admin/overview/").status_code == 200
        return len(queries)

    browser.get("/admin/")
    before = cost()
    make_rows(16)
    assert cost() == before <= 26


def test_the_panels_are_a_fragment_of_the_overview(browser, rows):
    text = browser.get("/admin/overview/").text
    assert "<html" not in text
    assert "Needs attention" in text


@pytest.mark.parametrize("path", ["/admin/overview/", "/admin/topology/"])
def test_users_who_may_not_see_nodes_do_not_see_the_pool(browser, rows, path):
    browser.logout()
    assert browser.get(path).status_code == 302
    user = get_user_model().objects.create_user("nobody", password="x", is_staff=True)
    browser.force_login(user)
    assert browser.get(path).status_code == 403
    assert "Needs attention" not in browser.get("/admin/").text
    of_role(browser, "MONITOR")
    assert browser.get(path).status_code == 200


def boxes(picture):
    return {
        node.name: node
        for region in picture.regions
        for zone in region.parts
        for rack in zone.parts
        for node in rack.parts
    }


def test_the_topology_has_each_node_in_its_place(rows):
    picture = topology_read()
    [region] = picture.regions
    [zone] = region.parts
    assert (region.name, zone.name) == ("-", "z1")
    assert [rack.name for rack in zone.parts] == ["r0", "r1", "r2", "r3"]
    node = boxes(picture)["kumo-1"]
    assert node.used_bytes == (100 + 140 + 180) * GIB
    assert node.capacity_bytes == 3 * 1024 * GIB


def test_the_topology_marks_the_replicas_of_a_volume(rows):
    for asked in ("database-1", "volume-1"):
        picture = topology_read(volume=asked)
        assert picture.volume is not None
        assert picture.volume.alias == "database-1"
        assert {n.name for n in boxes(picture).values() if n.replica_state} == {"kumo-0", "kumo-1"}
        marked = {name: sum(d.mine for d in node.drives) for name, node in boxes(picture).items()}
        assert marked == {"kumo-0": 1, "kumo-1": 1, "kumo-2": 0, "kumo-3": 0}


def test_the_topology_shows_what_the_stop_of_a_node_means(browser, rows):
    # all replicas are on node 0, which is silent, and node 1
    picture = topology_read(node="aa:1")
    assert picture.maintenance is not None
    assert (picture.maintenance.access, picture.maintenance.redundancy) == (4, 0)
    assert {loss.alias for loss in picture.affected} == {f"database-{n}" for n in range(4)}
    shown = boxes(picture)
    assert shown["kumo-1"].stops
    assert shown["kumo-0"].survivors == 4
    asked = urlencode({"node": "aa:1"})
    assert "4 volumes would lose access" in words(browser.get(f"/admin/topology/?{asked}"))
    assert "No volume would lose access or redundancy." in words(
        browser.get("/admin/topology/?node=aa%3A2")
    )


@pytest.mark.parametrize("query", ["volume=nothing", "node=nothing", "volume=%00", "node=%00"])
def test_names_that_do_not_exist_mark_nothing(browser, rows, query):
    answer = browser.get(f"/admin/topology/?{query}")
    assert answer.status_code == 200
    assert "would lose" not in answer.text


def test_the_topology_needs_the_same_queries_for_more_rows(
    browser, rows, django_assert_max_num_queries
):
    url = "/admin/topology/?volume=database-1&node=aa%3A1"
    make_rows(12)
    with django_assert_max_num_queries(2 + 9):  # session and user
        assert browser.get(url).status_code == 200


def test_the_page_of_a_volume_shows_all_that_belongs_to_it(browser, rows):
    volume = Volume.objects.get(uuid="volume-1")
    text = words(browser.get(page(Volume, "change", volume.pk)))
    assert "Degraded" in text
    assert "1 of 2 replicas can be used" in text
    for part in ("Replicas 2", "Published to 1", "Exports 2", "Snapshots 2", "Tasks 1"):
        assert part in text
    assert "compute-1" in text
    assert "nqn.2022-08.com.kioxia:host-1" in text


def test_the_page_of_a_node_shows_its_replicas_and_what_its_stop_means(browser, rows):
    text = words(browser.get(page(Backend, "change", quote("aa:1"))))
    assert "show on the topology" in text
    assert "Replicas 4" in text
    assert "database-3" in text


def test_the_page_of_a_host_shows_its_volumes_exports_and_tasks(browser, rows):
    text = words(browser.get(page(Host, "change", "host-1")))
    for part in ("Published volumes 1", "Exports 2", "Tasks 1", "database-1"):
        assert part in text


def test_the_pages_of_tenant_task_and_snapshot_name_their_volumes(browser, rows):
    text = words(browser.get(page(Tenant, "change", "t1")))
    assert "Largest volumes 4" in text
    task = Task.objects.get(volume_id="volume-1")
    assert "Volume database-1 Host compute-1" in words(browser.get(page(Task, "change", task.pk)))
    snapshot = Snapshot.objects.filter(volume__uuid="volume-1")[0]
    text = words(browser.get(page(Snapshot, "change", snapshot.pk)))
    assert "Volume database-1" in text
    assert "Volumes of this snapshot 0" in text


def test_the_page_of_an_object_shows_what_happened_to_it(browser, rows):
    task, snapshot = Task.objects.all()[0], Snapshot.objects.all()[0]
    pages = {
        "volume:volume-1": page(Volume, "change", Volume.objects.get(uuid="volume-1").pk),
        "backend:aa:1": page(Backend, "change", quote("aa:1")),
        "host:host-1": page(Host, "change", "host-1"),
        "tenant:t1": page(Tenant, "change", "t1"),
        f"task:{task.pk}": page(Task, "change", task.pk),
        f"snapshot:{snapshot.uuid}": page(Snapshot, "change", snapshot.pk),
    }
    for subject in pages:
        happened(f"of {subject}", subject)
    for subject, url in pages.items():
        answer = browser.get(url)
        text = words(answer)
        assert "Events 1" in text
        assert f"warning of {subject} admin" in text
        every = f"{reverse('admin:events_event_changelist')}?{urlencode({'q': subject})}"
        assert every in html.unescape(answer.text)
        found = words(browser.get(every))
        assert f"of {subject}" in found
        assert not [other for other in pages if other != subject and f"of {other}" in found]


def test_the_overview_shows_the_last_events(browser, rows):
    Event.objects.all().delete()
    assert "No events yet." in words(browser.get("/admin/overview/"))
    for number in range(9):
        happened(f"event {number}", "host:h")
    text = words(browser.get("/admin/overview/"))
    assert text.index("event 8") < text.index("event 1")
    assert "event 0" not in text


def happened(text, subject):
    Event.objects.create(
        kind="VolumeAborted",
        severity=Severity.WARNING,
        text=text,
        actor_type=Event.Actor.CALLER,
        actor="admin",
        subjects=[subject],
    )
