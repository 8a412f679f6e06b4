"""The configuration files in docs/how-to/add-an-spdk-node.md are valid and have the described
meaning.
"""

import json
import re
from pathlib import Path

import pytest

from inventory.nodes.engines.spdk.node_config import read_config
from inventory.nodes.wire import Portal
from tests.nodes.certificates import KeyPair, TestCa
from tests.system.stack import ROOT

PAGE = (ROOT / "docs/how-to/add-an-spdk-node.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def config(tmp_path: Path, ca: TestCa, server_pair: KeyPair) -> Path:
    text, more = blocks("toml")
    for name, path in (
        ("node-1.pem", server_pair.certificate),
        ("node-1.key", server_pair.key),
        ("ca.pem", ca.file),
    ):
        text = text.replace(f"/etc/provisioner/tls/{name}", str(path))
    file = tmp_path / "node.toml"
    file.write_text(f"{text}\n{more}")
    return file


def test_the_configuration_of_the_page_is_valid(config: Path) -> None:
    found = read_config(config, to_format=re.findall(r"--format (\w+)", PAGE))
    assert found.spdk.portals == (Portal(ip="10.1.0.11", port=4420),)
    shown = [(ssd.bdev, ssd.format) for ssd in found.spdk.ssds]
    assert shown == [("Nvme0n1", True), ("Nvme1n1", True), (None, False)]
    assert found.token is None


def test_the_configured_drives_are_those_that_spdk_attaches(config: Path) -> None:
    [attached] = [json.loads(text) for text in blocks("json")]
    [bdev] = attached["subsystems"]
    names = {f"{one['params']['name']}n1" for one in bdev["config"]}
    assert names == {ssd.bdev for ssd in read_config(config).spdk.ssds if ssd.bdev}


def test_a_missing_drive_does_not_stop_spdk() -> None:
    [unit] = [text for text in blocks("ini") if "nvmf_tgt" in text]
    assert "--json-ignore-init-errors" in unit
    assert {"Restart=always", "StartLimitIntervalSec=0"} < set(unit.splitlines())
