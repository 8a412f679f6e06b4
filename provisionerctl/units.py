"""Parses and formats sizes, rates and times."""

import math
import re
import time
from typing import Any

import click

GIB = 2**30
FACTORS = {"": 1, "G": 1, "T": 2**10, "P": 2**20}
"""The number of GiB in each unit."""
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Size(click.ParamType[int]):
    """A size in whole GiB: ``10``, ``10GiB``, ``2T``."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """:raises click.BadParameter: the text is not a size in whole GiB."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([GTP]?)(?:iB)?", value)
        size = float(found[1]) * FACTORS[found[2]] if found else 0.5
        if not size.is_integer():
            self.fail(
                f"{value!r} is not a size in whole GiB, such as 10, 10GiB or 2TiB", param, ctx
            )
        return int(size)


class Duration(click.ParamType[int]):
    """A time in seconds: ``90``, ``90s``, ``15m``, ``12h``, ``30d``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """:raises click.BadParameter: the text is not a duration."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+)([smhd]?)", value)
        if not found:
            self.fail(f"{value!r} is not a duration, such as 90s, 15m, 12h or 30d", param, ctx)
        return int(found[1]) * SECONDS[found[2]]


class Number(click.FloatRange):
    """A number in a range. ``nan`` is in no range, which click does not notice."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """:raises click.BadParameter: the text is no number in the range."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


def printable(text: str) -> str:
    """Return the text without control characters. Names come from nodes and hosts, and control
    characters would affect the terminal.
    """
    return "".join(character if character.isprintable() else " " for character in text)


def size_text(size: float) -> str:
    """Return a number of bytes as text, for example ``10 GiB``, with at most one decimal."""
    unit = 0
    while size >= 1024 and unit < len(UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{round(size, 1):g} {UNITS[unit]}" if size < 1000 else f"{size:.0f} {UNITS[unit]}"


def gib_text(size: int) -> str:
    """Return a number of GiB as text. 0 means that there is no limit."""
    return size_text(size * GIB) if size else "no limit"


def rate_text(rate: float) -> str:
    """Return bytes per second as text."""
    return f"{size_text(rate)}/s"


def limit_text(limit: int) -> str:
    return f"{limit:,}" if limit else "no limit"


def seconds_text(seconds: float) -> str:
    """Return seconds as text, for example ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def span_text(seconds: float) -> str:
    """The largest unit of a number of seconds alone: ``5 s``, ``3 min``, ``2 h``, ``4 d``."""
    for unit, factor in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= factor:
            return f"{int(seconds // factor)} {unit}"
    return f"{max(0, int(seconds))} s"


def ago_text(milliseconds: float) -> str:
    """Return how long ago a time was. ``milliseconds``: since the epoch."""
    return f"{span_text(time.time() - milliseconds / 1000)} ago"
