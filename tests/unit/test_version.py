"""The version is defined in one place and shown in several places."""

import subprocess
import sys
from pathlib import Path

import yaml
from django.conf import settings

from provisioner import __version__

ROOT = Path(__file__).parents[2]


def test_the_version_command_needs_no_settings() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "version"],
        cwd=ROOT,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{__version__}\n", "")


def test_the_administration_shows_the_version() -> None:
    assert settings.UNFOLD["SITE_TITLE"] == f"Provisioner {__version__}"


def test_the_changelog_has_a_section_for_the_version() -> None:
    assert f"\n## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_images_are_of_this_version() -> None:
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    [ours] = {s["image"] for s in compose.values() if s["image"].startswith("provisioner:")}
    assert ours == f"provisioner:{__version__}"
    [image] = yaml.safe_load((ROOT / "deploy/kustomization.yaml").read_text())["images"]
    assert image["newTag"] == __version__
