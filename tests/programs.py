"""Programs that tests run and that are not in a Python package. If a program is not installed on
this machine, its tests are skipped.

``python -m tests.programs`` (``make test-tools``) installs them. Tests never install them.
"""

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

PACKAGES = {
    "haproxy": ("haproxy",),
    "promtool": ("prometheus",),
    "docker-compose": ("docker-compose",),
    "systemd-analyze": ("systemd",),
    "rsyslogd": ("rsyslog", "rsyslog-openssl"),
    "kubectl": ("kubernetes-client",),
    "node": ("nodejs",),
    "npm": ("npm",),
    "openssl": ("openssl",),
    "gcc": ("gcc", "libc6-dev"),
    "zsh": ("zsh",),
    "fish": ("fish",),
    "chromium": ("chromium",),
    "h2load": ("nghttp2-client",),
}
"""Debian's, of each program."""
MODULES = {"rsyslogd": "*/rsyslog/lmnsd_ossl.so"}
"""What a program needs below /usr/lib."""
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))
MISSING = "not on this machine: "
COMMAND = "make test-tools"


def installed(program: str) -> str | None:
    """Return the path of a program. None: it is not installed."""
    if program in MODULES and not any(Path("/usr/lib").glob(MODULES[program])):
        return None
    return shutil.which(program, path=PATH)


def tool(program: str) -> str:
    """Return the path of a program. If it is not installed, the test is skipped; under CI it
    fails.
    """
    return installed(program) or missing(program)


def in_ci() -> bool:
    """Whether all tests must run."""
    return os.environ.get("CI", "").lower() in {"true", "1"}


def missing(what: str) -> str:
    """Skip the test. Under CI, where all tests must run, it fails."""
    if in_ci():
        pytest.fail(f"{MISSING}{what}")
    pytest.skip(f"{MISSING}{what}")


def summary(reasons: Iterable[str]) -> list[str]:
    """Return the skipped tests by the missing program, and the command that installs it."""
    counts = Counter(reason.partition(MISSING)[2] or reason for reason in reasons)
    if not counts:
        return []
    lines = [f"{count} tests: {what}" for what, count in sorted(counts.items())]
    return ["Not run, for want of programs:", *lines, f"All run after: {COMMAND}"]


def main() -> int:
    """Show what would be installed, ask for confirmation unless YES=1 is set, and install it with
    apt-get.
    """
    lacking = [program for program in PACKAGES if not installed(program)]
    packages = sorted({package for program in lacking for package in PACKAGES[program]})
    if not lacking:
        print("Nothing to install: all programs are here.")
        return 0
    print(f"Programs that are not here: {', '.join(lacking)}.")
    print(f"Debian's packages, with what they need: {' '.join(packages)}.", flush=True)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print("Install them as root: apt-get install --no-install-recommends", *packages)
        return 1
    if os.environ.get("YES") != "1" and input("Install them? [y/N] ").lower() != "y":
        return 1
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(["apt-get", "-q", *command], env=environment, check=False)
        if done.returncode:
            return done.returncode
    still = [program for program in lacking if not installed(program)]
    print(f"Still missing: {', '.join(still)}." if still else "All programs are here.")
    return 1 if still else 0


if __name__ == "__main__":
    sys.exit(main())
