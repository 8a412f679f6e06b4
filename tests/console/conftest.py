"""Fixtures of the tests in a real browser: one pool, one server and one browser for each module."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright
from pytest_django.live_server_helper import LiveServer

from tests import cleaning
from tests.console.pool_steps import PoolRows, make_pool
from tests.programs import tool

PATIENCE_MS = 60_000
NAME, PASSWORD = "operator", "a long password 9"
DESKTOP: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def console(django_db_setup: None, django_db_blocker: Any) -> Iterator[tuple[str, PoolRows]]:
    """Return the URL of a server with a pool of 300 volumes, and the rows of the pool."""
    from inventory.services.pool.identity import database_confirm

    with django_db_blocker.unblock():
        database_confirm()
        rows = make_pool()
        get_user_model().objects.create_superuser(NAME, password=PASSWORD)
        server = LiveServer("localhost")
        server._live_server_modified_settings.enable()
        yield server.url, rows
        server.stop()
        server._live_server_modified_settings.disable()
        cleaning._delete_rows(None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def chromium(console: tuple[str, PoolRows]) -> Iterator[Browser]:
    """The browser of Debian. It starts after the rows are created, and ends before they are
    deleted, because Django refuses database access in a thread with a running event loop, which
    Playwright has.
    """
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=tool("chromium"), args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def logged_in(chromium: Browser, console: tuple[str, PoolRows]) -> Any:
    """The cookies of an operator who has logged in with name and password."""
    context = chromium.new_context(base_url=console[0])
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto("/admin/")
    page.get_by_label("Username").fill(NAME)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").press("Enter")
    page.wait_for_selector("#overview")
    state = context.storage_state()
    context.close()
    return state


class Window:
    """A page of the console. ``complaints``: errors that the browser logged."""

    def __init__(self, context: BrowserContext) -> None:
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._logged)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _logged(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def open(self, path: str) -> None:
        """Load a page, and wait until Alpine.js has started."""
        self.page.goto(path, wait_until="load")
        self.page.wait_for_selector("html:not([x-cloak])", state="attached")

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def _window(chromium: Browser, console: tuple[str, PoolRows], state: Any, scheme: Any) -> Any:
    context = chromium.new_context(
        base_url=console[0], viewport=DESKTOP, color_scheme=scheme, storage_state=state
    )
    context.set_default_timeout(PATIENCE_MS)
    return context


@pytest.fixture(scope="module")
def _light(chromium: Browser, console: tuple[str, PoolRows], logged_in: Any) -> Iterator[Any]:
    context = _window(chromium, console, logged_in, "light")
    yield context
    context.close()


@pytest.fixture(scope="module")
def _dark(chromium: Browser, console: tuple[str, PoolRows], logged_in: Any) -> Iterator[Any]:
    context = _window(chromium, console, logged_in, "dark")
    yield context
    context.close()


@pytest.fixture
def window(_light: BrowserContext) -> Iterator[Window]:
    """A window of an operator who is logged in."""
    opened = Window(_light)
    yield opened
    opened.page.close()


@pytest.fixture
def dark_window(_dark: BrowserContext) -> Iterator[Window]:
    """The same on a system that prefers dark pages."""
    opened = Window(_dark)
    yield opened
    opened.page.close()


@pytest.fixture(scope="session")
def pictures() -> Path:
    """The folder for the pictures of ``make screenshots``."""
    return Path(os.environ.get("SCREENSHOTS", "docs/images"))
