"""What the stand-ins for programs of the machine refuse."""

from pathlib import Path

import pytest

from tests.system import stand_in


@pytest.mark.skipif(not stand_in.has_lists(), reason="this machine has no lists of packages")
def test_packages_that_the_distribution_does_not_have_are_not_installed() -> None:
    assert stand_in.main("apt-get", ["install", "-y", "haproxy", "openssl"]) == 0
    assert stand_in.main("apt-get", ["install", "-y", "haproxy", "no-such-package"]) != 0
    assert stand_in.main("apt-get", ["update"]) == 0


def test_names_of_packages_are_not_checked_without_lists(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stand_in, "PACKAGES", tmp_path)
    monkeypatch.delenv("CI", raising=False)
    assert stand_in.main("apt-get", ["install", "-y", "no-such-package"]) == 0
