"""Programs of Debian's packages that tests run: found, else installed, else loudly missed."""

import fcntl
import os
import shutil
import subprocess
import tempfile
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
    "pgbench": ("postgresql",),
}
MODULES = {"rsyslogd": "*/rsyslog/lmnsd_ossl.so"}
"""What a program needs below /usr/lib."""
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))
LOCK = Path(tempfile.gettempdir()) / "provisioner-tests-install.lock"


def install(*programs: str) -> None:
    """Where there is apt-get, and as root, all that are missing are installed in one run of it.

    Who else asks meanwhile waits; a package that is not to be had leaves only its program out.
    """
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if missing := [program for program in programs if not _found(program)]:
            _apt("update")
            _install(missing)
            for program in missing:
                if not _found(program):
                    _install([program])


def installed(program: str) -> str | None:
    """The path of a program, installed if need be and possible."""
    if not _found(program):
        install(program)
    return _found(program)


def tool(program: str) -> str:
    """The path of a program, installed if need be.

    Without it the test is skipped; under CI it fails.
    """
    if path := installed(program):
        return path
    reason = f"NO {program.upper()}: install it: apt-get install -y {' '.join(PACKAGES[program])}"
    if os.environ.get("CI", "").lower() in {"true", "1"}:
        pytest.fail(reason)
    print(f"\n{reason}; ITS TEST IS SKIPPED", flush=True)
    pytest.skip(reason)


def _found(program: str) -> str | None:
    if program in MODULES and not any(Path("/usr/lib").glob(MODULES[program])):
        return None
    return shutil.which(program, path=PATH)


def _install(programs: list[str]) -> None:
    packages = [package for program in programs for package in PACKAGES[program]]
    print(f"\ninstalling {' '.join(packages)} with apt-get for the tests", flush=True)
    _apt("install", "-y", "--no-install-recommends", *packages)


def _apt(*arguments: str) -> None:
    subprocess.run(
        ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=200", *arguments],
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        check=False,
        timeout=400,
        stdout=subprocess.DEVNULL,
    )
