"""The versions and contents of packages from PyPI are pinned, so that the tested ones are
installed.
"""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
EXACT = re.compile(r"[\w./-]+:v?\d+\.\d+(\.\d+)?(-\w+)*(@sha256:[0-9a-f]{64})?")
"""An image with all parts of its version: two for PostgreSQL, three for others."""


@pytest.mark.parametrize(
    "name", ["requirements.txt", "requirements-dev.txt", "provisionerctl/requirements.txt"]
)
def test_each_package_has_version_and_hashes(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text, "where packages come from is a matter of each machine"
    whole = re.sub(r"\s*#.*", "", text).replace("\\\n", " ")
    lines = [line for line in whole.splitlines() if line.strip()]
    assert len(lines) > 5
    for line in lines:
        assert re.match(r"[\w.-]+==[\w.]+ .*--hash=sha256:[0-9a-f]{64}", line), line


def test_installing_demands_the_hashes() -> None:
    for name in ("Makefile", "deploy/Dockerfile"):
        installs = re.findall(r"pip install\b.*-r \S+", (ROOT / name).read_text())
        assert installs
        assert all("--require-hashes" in line for line in installs)


def test_images_have_exact_tags() -> None:
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    images = [service["image"] for service in compose.values()]
    images += re.findall(r"(?m)^FROM (\S+)", dockerfile)
    assert [image for image in images if not EXACT.fullmatch(image)] == []
    assert not EXACT.fullmatch("redis:7")
