"""Programs of Debian's packages that tests run: found, else installed, else loudly missed."""

import os
import shutil
import subprocess

import pytest


def installed(program: str, package: str) -> str | None:
    """The path of a program; as root, where there is apt-get, its Debian package is installed."""
    if not shutil.which(program) and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"\ninstalling {package} with apt-get for the tests", flush=True)
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
            subprocess.run(
                ["apt-get", "-qq", *command],
                env=environment,
                check=False,
                timeout=400,
                stdout=subprocess.DEVNULL,
            )
    return shutil.which(program)


def tool(program: str, package: str) -> str:
    """The path of a program, installed if need be.

    Without it the test is skipped; under CI it fails.
    """
    if path := installed(program, package):
        return path
    reason = f"NO {program.upper()}: install it: apt-get install -y {package}"
    if os.environ.get("CI", "").lower() in {"true", "1"}:
        pytest.fail(reason)
    print(f"\n{reason}; ITS TEST IS SKIPPED", flush=True)
    pytest.skip(reason)
