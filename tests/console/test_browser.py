"""The console in Chromium: pages have no errors, on a desktop and on a phone, with the keyboard
only.
"""

import threading
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.admin.utils import quote
from django.db import connection

from tasks.models import Task
from tests.console.conftest import DESKTOP, PHONE, Window
from tests.console.pool_steps import DEAD, PoolRows
from volumes.health import Health
from volumes.health_selectors import node_counts, volume_counts

PAGES: dict[str, Callable[[PoolRows], str]] = {
    "overview": lambda rows: "",
    "topology": lambda rows: f"topology/?volume=etcd-01&node={rows.nodes[5].pk}",
    "nodes": lambda rows: "inventory/backend/",
    "drives": lambda rows: "inventory/ssd/",
    "volumes": lambda rows: "volumes/volume/",
    "snapshots": lambda rows: "volumes/snapshot/",
    "hosts": lambda rows: "inventory/host/",
    "tenants": lambda rows: "volumes/tenant/",
    "tasks": lambda rows: "tasks/task/",
    "drains": lambda rows: "volumes/drain/",
    "a volume": lambda rows: f"volumes/volume/{rows.volumes[12].pk}/change/",
    "a dead node": lambda rows: f"inventory/backend/{quote(rows.nodes[DEAD].pk)}/change/",
    "a host": lambda rows: f"inventory/host/{rows.hosts[4].pk}/change/",
    "a tenant": lambda rows: "volumes/tenant/tenant-1/change/",
    "a failed task": lambda rows: f"tasks/task/{rows.tasks[3].pk}/change/",
    "a snapshot": lambda rows: f"volumes/snapshot/{rows.snapshots[0].pk}/change/",
}
RULES = {"runOnly": ["wcag2a", "wcag2aa"], "resultTypes": ["violations"]}

FEW_ROWS = {"exclude": [["#result_list tbody:nth-of-type(n+6)"]]}
"""The rows of a list are alike: looking at five of 50 saves most of the time."""


def accessibility_violations(window: Window) -> list[str]:
    """Return the serious violations of accessibility rules that axe finds on the page."""
    found = Axe().run(window.page, context=FEW_ROWS, options=RULES).response["violations"]
    return [
        f"{one['id']}: {node['html']}"
        for one in found
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"]
    ]


@pytest.mark.django_db
def test_the_pool_of_these_tests_is_in_trouble(console: tuple[str, PoolRows]) -> None:
    """This runs first, so that pytest-django creates the database before the browser starts."""
    assert set(node_counts().values()) == {1, 17}, "one dead, one draining, one cordoned node"
    volumes = volume_counts()
    assert volumes[Health.FAULTED] > 0
    assert volumes[Health.DEGRADED] > 0
    assert sum(volumes.values()) == 299


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_each_screen_without_errors_and_is_accessible(
    window: Window, console: tuple[str, PoolRows], name: str
) -> None:
    window.open(f"/admin/{PAGES[name](console[1])}")
    assert window.overflow() <= 0
    assert accessibility_violations(window) == []
    window.page.set_viewport_size(PHONE)
    assert window.overflow() <= 0
    window.page.set_viewport_size(DESKTOP)
    assert window.complaints == []


@pytest.mark.parametrize("name", ["overview", "topology", "volumes", "a volume"])
def test_dark_pages_have_enough_contrast(
    dark_window: Window, console: tuple[str, PoolRows], name: str
) -> None:
    dark_window.open(f"/admin/{PAGES[name](console[1])}")
    dark_window.page.wait_for_selector("html.dark", state="attached")
    assert accessibility_violations(dark_window) == []
    assert dark_window.complaints == []


def test_the_search_leads_to_a_volume_by_keyboard_alone(window: Window) -> None:
    window.open("/admin/")
    window.page.keyboard.press("Control+k")
    window.page.wait_for_selector("#search-input-command:focus")
    window.page.keyboard.type("etcd-01")
    window.page.wait_for_selector("#command-results-list a")
    window.page.keyboard.press("ArrowDown")
    window.page.keyboard.press("Enter")
    window.page.wait_for_url("**/volumes/volume/*/change/")
    assert "etcd-01" in window.page.title()
    assert window.complaints == []


def tab_to(window: Window, text: str) -> None:
    """Press the tab key until the element with this text has the focus."""
    focused = "(document.activeElement?.innerText || '').trim()"
    for _ in range(80):
        window.page.keyboard.press("Tab")
        if str(window.page.evaluate(focused)).startswith(text):
            return
    pytest.fail(f"the tab key does not reach {text!r}")


def test_lists_and_filters_are_reached_by_keyboard_alone(window: Window) -> None:
    window.open("/admin/")
    tab_to(window, "Nodes")
    window.page.keyboard.press("Enter")
    window.page.wait_for_url("**/inventory/backend/")
    tab_to(window, "Filters")
    window.page.keyboard.press("Enter")
    window.page.wait_for_selector("#changelist-filter", state="visible")
    window.page.keyboard.press("Escape")
    window.page.wait_for_selector("#changelist-filter", state="hidden")
    assert window.complaints == []


def test_the_overview_follows_a_task_without_a_reload(
    window: Window, console: tuple[str, PoolRows]
) -> None:
    window.open("/admin/")
    window.page.evaluate("document.title = 'not loaded again'")

    def advance() -> None:
        Task.objects.filter(pk=console[1].tasks[2].pk).update(progress=83)
        connection.close()

    thread = threading.Thread(target=advance)
    thread.start()
    thread.join()
    window.page.get_by_text("83 %").wait_for()
    assert window.page.title() == "not loaded again"
    assert window.complaints == []
