"""The steps of docs/tutorial/operate-the-pool.md in the console, by clicks only, at 1440 pixels.

The system is that of ``make demo`` without its scenario. With SCREENSHOTS, the test also writes the
pictures of the page (``make screenshots``).
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, sync_playwright

from provisioner.standalone.client import Client
from provisioner.standalone.live_scenario import CUT_OFF
from tests.console.conftest import DESKTOP, PATIENCE_MS
from tests.programs import tool
from tests.servers import free_port
from tests.system.standalone_steps import Standalone

RACKS = ("rack-1", "rack-1", "rack-2")
"""Of the demo's first nodes. The fourth stays out of the pool."""
QUICK = {
    "PROBE_INTERVAL_SECONDS": "2",
    "POLL_INTERVAL_SECONDS": "1",
    "COLLECT_INTERVAL_SECONDS": "1",
}


class Walk:
    """Acts like an operator: clicks on elements by their names, and reads the page."""

    def __init__(self, page: Page, demo: Standalone, port: int) -> None:
        self.page = page
        self._demo, self._port = demo, port

    def log_in(self) -> None:
        [password] = re.findall(r"Password +(\S+)", self._demo.output)
        self.page.goto("/admin/")
        self.page.get_by_label("Username").fill("admin")
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()

    def go(self, name: str) -> None:
        """Open a page of the sidebar."""
        self.page.locator("#nav-sidebar").get_by_text(name, exact=True).click()

    def follow(self, text: str) -> None:
        """Follow a link in the middle of the page."""
        self.main.get_by_role("link", name=text).first.click()

    def choose(self, name: str) -> None:
        """Start an action at the head of the page."""
        self.page.get_by_role("link", name=re.compile(rf"\b{name}$")).first.click()

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def fill(self, **fields: str) -> None:
        for label, value in fields.items():
            name = re.compile(rf"^\W*{label.replace('_', ' ')}\W*$")  # a star may follow
            self.page.get_by_label(name).fill(value)

    def sees(self, text: str) -> None:
        self.main.get_by_text(text).first.wait_for()

    def comes_to(self, text: str) -> None:
        """Reload the page until it shows the text."""
        give_up = time.monotonic() + PATIENCE_MS / 1000
        while not self.main.get_by_text(text).first.is_visible():
            assert time.monotonic() < give_up, text
            self.page.wait_for_timeout(500)
            self.page.reload()

    @property
    def main(self) -> Locator:
        return self.page.locator("#main")

    def picture(self, name: str) -> None:
        if folder := os.environ.get("SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"walk-{name}.png")

    @contextmanager
    def cut_off(self, number: int) -> Iterator[None]:
        """Make the demo's node with this number unreachable. It sends no probes."""
        folder = self._demo.folder
        url = f"https://127.0.0.1:{self._port + number}"
        node = Client(url, ca=folder.ca, certificate=folder.provisioner_certificate)
        assert node.call("PUT", "/sim/faults", CUT_OFF).http_status == 200
        yield
        node.call("DELETE", "/sim/faults")


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    port = free_port()
    demo = Standalone(tmp_path / "data", port, **QUICK)
    try:
        demo.wait_for("reset:")
        with sync_playwright() as playwright:
            flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
            browser = playwright.chromium.launch(executable_path=tool("chromium"), args=flags)
            context = browser.new_context(
                base_url=demo.url, viewport=DESKTOP, ignore_https_errors=True
            )
            context.set_default_timeout(PATIENCE_MS)
            yield Walk(context.new_page(), demo, port)
            browser.close()
    finally:
        demo.process.terminate()
        demo.process.wait(60)


def test_a_newcomer_operates_the_pool_by_clicks_alone(walk: Walk) -> None:
    walk.log_in()
    nodes_are_added(walk)
    a_create_is_refused_with_its_reason(walk)
    a_volume_gets_to_its_host(walk)
    with walk.cut_off(3):
        a_dead_node_is_noticed_with_what_it_means(walk)
    walk.go("Overview")
    walk.sees("all volumes and nodes are healthy")
    a_node_is_drained_to_its_end(walk)


def nodes_are_added(walk: Walk) -> None:
    for number, rack in enumerate(RACKS, 1):
        walk.go("Nodes")
        walk.choose("Add node")
        walk.fill(Management_addresses="127.0.0.1", Port=str(walk._port + number), Rack=rack)
        walk.press("Add node")
        walk.sees(f"Node 02:00:00:00:00:0{number} is in the pool.")
    walk.go("Nodes")
    walk.sees("02:00:00:00:00:03")
    assert walk.main.locator(".badge", has_text="Available").count() == len(RACKS)
    walk.picture("nodes")


def a_create_is_refused_with_its_reason(walk: Walk) -> None:
    walk.go("Volumes")
    walk.choose("Create volume")
    walk.fill(Alias="database", Capacity="10", Replicas="3")
    walk.press("Dry run")
    walk.sees("This is a dry run: nothing has been created.")
    walk.sees("one replica per rack")
    walk.picture("dry-run")
    walk.press("Create volume")
    walk.sees("2 of 3 replicas can be placed on 3 nodes")


def a_volume_gets_to_its_host(walk: Walk) -> None:
    walk.fill(Replicas="2")
    walk.press("Create volume")
    walk.sees("Volume database is created.")
    walk.choose("Publish")
    walk.page.get_by_label(re.compile(r"^\W*Host\W*$")).select_option("demo-host-1")
    walk.press("Publish")
    walk.sees("Volume database is published to host")
    walk.comes_to("Healthy")
    walk.go("Topology")
    walk.fill(Replicas_of_the_volume="database")
    walk.press("Show")
    walk.sees("are outlined, with their state")
    walk.picture("topology")


def a_dead_node_is_noticed_with_what_it_means(walk: Walk) -> None:
    walk.go("Overview")
    walk.sees("Node node-3 is Unavailable")
    walk.sees("1 volume Degraded")
    walk.picture("dead-node")
    walk.follow("Node node-3 is Unavailable")
    walk.sees("the node has not answered calls since")
    walk.go("Overview")
    walk.follow("1 volume Degraded")
    walk.follow("database")
    walk.sees("1 of 2 replicas can be used")
    walk.sees("on 02:00:00:00:00:03 is Missing")
    walk.picture("degraded")


def a_node_is_drained_to_its_end(walk: Walk) -> None:
    walk.go("Volumes")
    walk.follow("database")
    link = walk.main.get_by_role("link", name=re.compile("^node-[12]$")).first
    node = link.inner_text()
    link.click()
    walk.follow("show on the topology")
    walk.sees("0 volumes would lose access, 1 would lose redundancy.")
    walk.page.go_back()
    walk.choose("Drain")
    walk.sees("Volumes that lose access or redundancy if the node stops now")
    walk.picture("drain")
    walk.press("Drain")
    walk.sees(f"Node {node} is being drained.")
    walk.comes_to("is done: 1 replica(s) were moved away")
    walk.go("Drains")
    walk.sees(node)
    walk.go("Nodes")
    walk.follow(node)
    walk.choose("Remove")
    walk.sees("It holds 0 replicas")
    walk.press("Remove")
    walk.sees("is removed")
    walk.go("Events")
    walk.sees("was removed; it held 0 replica(s)")
