"""The console: its navigation, its search, and what browsers may load."""

import re

import pytest
import urllib3
from django.contrib import admin

from inventory.models import Backend, Host
from provisioner.console.navigation import GROUPS
from tasks.models import Task
from tests.api.admin_login_steps import of_role
from tests.api.admin_pages import make_rows, page
from volumes.models import Replica, Volume


def test_each_list_is_in_the_navigation_once():
    listed = [model for lists in GROUPS.values() for _, model, _ in lists]
    assert sorted(listed) == sorted(model._meta.label_lower for model in admin.site._registry)


def navigation(text):
    """The addresses in the sidebar of a page."""
    sidebar = text.partition('id="nav-sidebar-apps"')[2].partition("openUserLinks")[0]
    return re.findall(r'<a href="(/admin/[^"]*)"', sidebar)


def test_the_sidebar_leads_to_each_list(browser):
    make_rows(1)
    links = navigation(browser.get("/admin/").text)
    assert {"/admin/", "/admin/topology/"} < set(links)
    assert len(links) == 2 + len(admin.site._registry)
    for link in links:
        assert browser.get(link).status_code == 200, link


@pytest.mark.parametrize("role", ["MONITOR", "ADMIN"])
def test_only_superusers_see_users_and_roles(browser, role):
    of_role(browser, role)
    links = navigation(browser.get("/admin/").text)
    assert "/admin/volumes/volume/" in links
    assert {"/admin/auth/user/", "/admin/auth/group/"}.isdisjoint(links)


def found(browser, text):
    """Return the titles and URLs that the search finds."""
    shown = browser.get("/admin/search/", {"s": text, "extended": 1}).text
    return dict(re.findall(r'href="([^"]*)"\s+data-title="([^"]*)"', shown))


@pytest.fixture
def rows(db):
    make_rows(3)


def test_a_volume_is_found_by_alias_and_by_uuid(browser, rows):
    volume = Volume.objects.get(uuid="volume-1")
    address = page(Volume, "change", volume.pk)
    assert found(browser, "BASE-1") == {address: "database-1"}
    assert found(browser, "volume-1")[address] == "database-1"
    replica = Replica.objects.filter(volume=volume)[0]
    assert found(browser, replica.uuid)[address] == "replica of database-1"


@pytest.mark.parametrize("text", ["kumo-1", "aa:1", "10.0.0.1", "10.1.0.1"])
def test_a_node_is_found_by_name_id_and_address(browser, rows, text):
    address = page(Backend, "change", "aa_3A1")
    assert found(browser, text)[address] == "kumo-1"


@pytest.mark.parametrize(
    "text",
    ["compute-2", "host-2", "nqn.2014-08.org.nvmexpress:2", "nqn.2022-08.com.kioxia:host-2"],
)
def test_a_host_is_found_by_name_id_and_the_nqn_of_it_and_its_target(browser, rows, text):
    assert found(browser, text) == {page(Host, "change", "host-2"): "compute-2"}


def test_a_task_is_found_by_id(browser, rows):
    task = Task.objects.all()[0]
    assert found(browser, task.pk) == {page(Task, "change", task.pk): task.type}


def test_pages_are_found_by_title(browser, rows):
    assert found(browser, "snapshots") == {"/admin/volumes/snapshot/": "Snapshots"}


@pytest.mark.parametrize("text", ["", " ", "no such thing", "\0", "x" * 9000])
def test_a_text_that_names_nothing_finds_nothing(browser, rows, text):
    assert found(browser, text) == {}


def test_a_search_needs_one_query_for_each_kind(browser, rows, django_assert_num_queries):
    with django_assert_num_queries(2 + 8):  # session and user
        found(browser, "base")


def test_the_search_needs_a_login(browser, rows):
    browser.logout()
    assert browser.get("/admin/search/", {"s": "database"}).status_code == 302


def test_pages_load_only_files_of_this_server(browser, rows, live_server):
    answer = browser.get("/admin/volumes/volume/")
    policy = answer.headers["Content-Security-Policy"]
    assert "'unsafe-inline'" not in policy
    assert "default-src 'self'; script-src 'self' 'unsafe-eval';" in policy
    loaded = set(re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="([^"]*)"', answer.text))
    files = {name for name in loaded if name != "/admin/jsi18n/"}
    assert "/static/provisioner/console.css" in files
    assert "/static/unfold/css/styles.css" in files
    for name in files:
        assert urllib3.request("GET", live_server.url + name).status == 200, name


def test_cookies_are_sent_over_tls_only(browser):
    """A request for http://, before HSTS is known, would show them to the network."""
    form = browser.get("/admin/login/?next=/admin/")
    answer = of_role(browser, "MONITOR")
    cookies = {**form.cookies, **answer.cookies}
    assert set(cookies) == {"sessionid", "csrftoken"}
    for cookie in cookies.values():
        assert (cookie["secure"], cookie["samesite"]) == (True, "Lax")
    assert cookies["sessionid"]["httponly"] is True
