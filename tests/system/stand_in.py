"""A replacement for programs that change the machine. An installation finds it in the PATH under
their names.

The test handles ``systemctl`` and ``git clone``, through the socket STAND_IN_SOCKET. Accounts of
the system are recorded, but not used, because files of a test may not belong to other users.
Packages are not installed, but their names are looked up.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

REAL = {"install": "/usr/bin/install"}
PACKAGES = Path("/var/lib/apt/lists")


def main(name: str, arguments: list[str]) -> int:
    if name in {"systemctl", "git"}:
        return ask([name, *arguments])
    if name == "runuser":
        run_as(arguments)
    if name == "install":
        install(arguments)
    if name == "apt-get" and "install" in arguments:
        return look_up([word for word in arguments if word != "install" and word[0] != "-"])
    return 0  # apt-get update, useradd


def ask(command: list[str]) -> int:
    """Ask the test for the result of the command. Its output goes to stderr."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ["STAND_IN_SOCKET"])
        connection.sendall(json.dumps(command).encode() + b"\n")
        said = connection.makefile().read()
    sys.stderr.write(said)
    return 1 if said else 0


def look_up(packages: list[str]) -> int:
    """Return 0 if the distribution of this machine has the packages. Without its lists of packages
    that is not checked, except in CI.
    """
    if not has_lists() and not os.environ.get("CI"):
        return 0
    command = ["/usr/bin/apt-cache", "show", "--no-all-versions", *packages]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    unknown = [name for name in packages if f"Package: {name}" not in shown]
    if unknown:
        sys.stderr.write(f"E: Unable to locate package {', '.join(unknown)}\n")
    return 100 if unknown else 0


def has_lists() -> bool:
    return any(PACKAGES.glob("*_Packages*"))


def run_as(arguments: list[str]) -> None:
    """``runuser -u NAME -- command``."""
    _, account, _, *command = arguments
    if account == "postgres":
        os.environ |= {"PGUSER": account, "PGHOST": os.environ["STAND_IN_POSTGRESQL"]}
    os.execvp(command[0], command)  # noqa: S606


def install(arguments: list[str]) -> None:
    """Run the real program without owners. These are recorded, by target."""
    owners = {"-o": "", "-g": ""}
    for option in owners:
        if option in arguments:
            at = arguments.index(option)
            owners[option] = arguments[at + 1]
            del arguments[at : at + 2]
    with Path(os.environ["STAND_IN_OWNERS"]).open("a") as notes:
        notes.write(f"{arguments[-2]} {arguments[-1]} {owners['-o']}:{owners['-g']}\n")
    os.execv(REAL["install"], ["install", *arguments])  # noqa: S606


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[0]).name, sys.argv[1:]))
