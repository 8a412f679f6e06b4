"""Writes pictures of the main pages (``make screenshots``). It is not part of the test suite."""

from pathlib import Path

import pytest

from tests.console.conftest import DESKTOP, PHONE, Window
from tests.console.pool_steps import PoolRows

PAGES = {
    "overview": "/admin/",
    "topology": "/admin/topology/?volume=etcd-01",
    "volumes": "/admin/volumes/volume/",
    "volume": "/admin/volumes/volume/{}/change/",
}
DARK = {"overview", "topology"}


@pytest.mark.django_db
def test_the_pool_is_there(console: tuple[str, PoolRows]) -> None:
    """This runs first, so that pytest-django creates the database before the browser starts."""
    assert console[1].volumes


@pytest.mark.parametrize("name", PAGES)
def test_picture(window: Window, console: tuple[str, PoolRows], pictures: Path, name: str) -> None:
    window.open(PAGES[name].format(console[1].volumes[12].pk))
    window.page.screenshot(path=pictures / f"console-{name}-light.png")
    if name == "overview":
        window.page.set_viewport_size(PHONE)
        window.page.screenshot(path=pictures / "console-overview-phone.png")
        window.page.set_viewport_size(DESKTOP)


@pytest.mark.parametrize("name", sorted(DARK))
def test_dark_picture(dark_window: Window, pictures: Path, name: str) -> None:
    dark_window.open(PAGES[name])
    dark_window.page.screenshot(path=pictures / f"console-{name}-dark.png")
