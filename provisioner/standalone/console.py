"""Output for people: plain lines, with colours only on a terminal."""

import os
import sys

_COLOURS = {"bold": "1", "dim": "2", "green": "32", "yellow": "33", "cyan": "36"}


def paint(text: str, style: str) -> str:
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb":
        return text
    return f"\033[{_COLOURS[style]}m{text}\033[0m"


def say(text: str = "", style: str | None = None) -> None:
    """Print one line without buffering, also to a file."""
    print(paint(text, style) if style else text, flush=True)  # noqa: T201


def shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
