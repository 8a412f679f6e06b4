"""The administration pages: every model, no N+1 queries, and nothing can be broken there."""

import datetime as dt

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from inventory.models import Backend, Host, Ssd
from provisioner.access.models import AuthorizationServer, RevokedToken, UserTenant
from provisioner.common.display import share, size
from provisioner.common.models import LifeState
from tasks.models import Task
from tests.api.admin_pages import GIB, MODELS, make_rows, page
from volumes.models import Drain, Publication, Replica, Tenant, Volume


def test_every_model_has_its_pages():
    from django.apps import apps

    ours = {
        m
        for app in ("provisioner", "events", "inventory", "tasks", "volumes")
        for m in apps.get_app_config(app).get_models()
    }
    assert set(MODELS) == ours - {UserTenant}, "that one is on the page of its user"


def cost(browser, url):
    """Return the number of queries of a page."""
    with CaptureQueriesContext(connection) as queries:
        assert browser.get(url).status_code == 200
    return len(queries)


@pytest.mark.parametrize("model", MODELS)
def test_a_list_needs_the_same_queries_for_more_rows(browser, model):
    rows = page(model, "changelist")
    browser.get(rows)
    make_rows(2)
    before = cost(browser, rows)
    make_rows(12)
    assert f"{model.objects.count()} " in browser.get(rows).text
    assert cost(browser, rows) == before <= 10


@pytest.mark.parametrize("model", MODELS)
def test_the_page_of_a_row_needs_few_queries(browser, model):
    make_rows(4)
    for row in model.objects.all():
        assert cost(browser, page(model, "change", quote(row.pk))) <= 16


@pytest.mark.parametrize("model", MODELS)
def test_nothing_can_be_changed(browser, model):
    make_rows(1)
    row = model.objects.first()
    if model is not RevokedToken:  # the form that revokes one
        assert browser.get(page(model, "add")).status_code == 403
    assert browser.post(page(model, "change", quote(row.pk)), {}).status_code == 403
    assert browser.post(page(model, "delete", quote(row.pk)), {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
    browser.post(page(model, "changelist"), chosen)
    assert model.objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize("model", MODELS)
def test_each_list_can_be_searched_and_filtered(browser, model):
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


def test_overdue_rows_are_marked_and_can_be_filtered(browser):
    make_rows(12)
    text = browser.get(page(Volume, "changelist")).text
    assert "overdue for" in text
    overdue = browser.get(page(Volume, "changelist"), {"unfinished": "overdue"}).text
    rows = Volume.objects.filter(deadline_at__lt=timezone.now())
    assert 0 < rows.count() < 12
    for volume in Volume.objects.all():
        assert (f">{volume.alias}<" in overdue) == (volume in rows)


def test_nodes_are_filtered_by_state(browser):
    make_rows(4)
    names = {"Available": {1, 2}, "Unavailable": {0, 3}}
    for state, numbers in names.items():
        text = browser.get(page(Backend, "changelist"), {"state": state}).text
        assert {n for n in range(4) if f">kumo-{n}<" in text} == numbers


def test_nodes_are_filtered_by_health(browser):
    make_rows(4)
    Drain.objects.all().delete()
    Backend.objects.filter(pk="aa:1").update(in_use=False)
    names = {"Unavailable": {0, 3}, "Cordoned": {1}, "Available": {2}, "Draining": set()}
    for health, numbers in names.items():
        text = browser.get(page(Backend, "changelist"), {"health": health, "q": "kumo"}).text
        assert {n for n in range(4) if f">kumo-{n}<" in text} == numbers
    text = browser.get(page(Backend, "change", quote("aa:1"))).text
    assert "it is cordoned: no new replica is placed on it" in text


def test_volumes_are_filtered_by_health(browser):
    make_rows(4)
    Volume.objects.update(state=LifeState.READY, deadline_at=None)
    Replica.objects.update(state=LifeState.READY, deadline_at=None)
    # all volumes are on node 0, which does not answer, and on node 1
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


def test_admin_leads_to_the_login_page(live_server):
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
def test_sizes_are_shown_with_binary_units(count, text):
    assert size(count) == text


def test_a_share_shows_a_bar_and_a_percentage():
    assert share(5, 0) == "5 (no limit)"
    text = share(GIB, 4 * GIB, size)
    assert 'width="25.0%"' in text
    assert text.endswith("</svg> 25 % of 4.0 GiB</span>")
    assert "bar-crowded" not in text
    assert "bar-crowded" in share(4 * GIB, 5 * GIB, size)
