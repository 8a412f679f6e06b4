"""Reads the units of systemd as data: the parts that determine how a process starts."""

import shlex
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path


class Unit:
    """A unit. ``put`` replaces text in it first, to adapt it to the machine."""

    def __init__(self, folder: Path, name: str, put: Callable[[str], str]) -> None:
        prefix, at, rest = name.partition("@")
        instance, _, kind = rest.rpartition(".")
        self.name = name
        text = put((folder / (f"{prefix}@.{kind}" if at else name)).read_text())
        self._values: dict[str, list[str]] = defaultdict(list)
        for line in text.splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                self._values[key].append(value.replace("%i", instance).replace("%%", "%"))

    def words(self, key: str) -> list[str]:
        """Return the words of all lines with this key."""
        return [word for value in self._values[key] for word in shlex.split(value)]

    def commands(self, key: str) -> list[list[str]]:
        return [shlex.split(value) for value in self._values[key]]

    def value(self, key: str, default: str = "") -> str:
        return (self._values[key] or [default])[-1]

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment that systemd sets for a process: a few variables, and those in the
        unit.
        """
        said = dict(word.split("=", 1) for word in self.words("Environment"))
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **said}
