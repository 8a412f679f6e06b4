"""udev of the fake machine: it starts the arrays that it finds on new devices."""

import re
from fnmatch import fnmatchcase
from typing import Any

FOLDER = "/run/udev/rules.d/"
NAMED, READ = "56-lvm.rules", "60-persistent-storage-dm.rules"
"""Debian's rules that give a device its name, and that read its content."""
NAMES = re.compile(r'^SUBSYSTEM=="block", ENV\{DM_NAME\}=="([^"]+)", (.+)$', re.MULTILINE)
NO_READING = 'ENV{DM_UDEV_DISABLE_DISK_RULES_FLAG}="1"'
MD_OFFSET, MD_MAGIC = 4096, bytes.fromhex("fc4e2ba9")


class FakeUdev:
    """``install`` and ``udevadm`` write and load its rules. A restart of the machine loses them."""

    def __init__(self) -> None:
        self._written: dict[str, str] = {}
        self._rules: tuple[str, ...] = ()

    def install(self, text: str, *words: str) -> str:
        *options, path = words
        assert options == ["-D", "--mode=644", "/dev/stdin"]
        assert path.startswith(FOLDER)
        if NAMED < path.removeprefix(FOLDER) < READ:  # otherwise it has no effect
            self._written[path] = text
        return ""

    def udevadm(self, *words: str) -> str:
        assert words == ("control", "--reload")
        self._rules = tuple(self._written.values())
        return ""

    def appeared(self, device: Any) -> None:
        """Handle a new device: read it, unless a rule forbids that. An array keeps it open."""
        rules = [found for text in self._rules for found in NAMES.findall(text)]
        forbidding = [names.split("|") for names, does in rules if NO_READING in does]
        if any(fnmatchcase(device.name, one) for names in forbidding for one in names):
            return
        if device.read(MD_OFFSET, len(MD_MAGIC)) == MD_MAGIC:
            device.openers.add("md127")
