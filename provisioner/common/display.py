"""Formats values for people, on the pages of the console. Depends on no model."""

import datetime as dt
from collections.abc import Callable

from django.utils.html import format_html
from django.utils.safestring import SafeString

NONE = "-"
CROWDED = 0.8
"""The share of use from which a bar is shown as a warning."""
TONES = {
    "good": ("Healthy", "Available", "READY", "FINISHED"),
    "info": ("Rebuilding", "Synchronizing", "RUNNING", "CREATING", "Draining", "info"),
    "warning": ("Degraded", "Cordoned", "DELETING", "ABORTED", "Terminating", "warning"),
    "danger": ("Faulted", "Unavailable", "FAILED", "Missing", "error", "critical"),
}
"""The colour of each state of an object. A state that is not listed is neutral."""
_TONE_OF = {text: tone for tone, texts in TONES.items() for text in texts}


def tone(state: str) -> str:
    """The colour of a state: good, info, warning, danger or neutral."""
    return _TONE_OF.get(state, "neutral")


def badge(state: str) -> SafeString:
    """A state as a coloured label."""
    return format_html('<span class="badge badge-{}">{}</span>', tone(state), state)


def size(count: int) -> str:
    """Bytes for people: about three digits, and a binary unit."""
    value, units = float(count), iter(("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))
    unit = "B"
    while abs(value) >= 1024 and (larger := next(units, None)):
        value, unit = value / 1024, larger
    return f"{value:.{0 if unit == 'B' or value >= 100 else 1}f} {unit}"


def rate(count: int) -> str:
    """A rate for people, in bytes per second."""
    return f"{size(count)}/s"


def number(count: int) -> str:
    return f"{count:,}"


def span(time: dt.timedelta) -> str:
    """A span of time in its largest unit, rounded down."""
    seconds = int(time.total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def bar(used: float, total: float, text: str) -> SafeString:
    """A bar that shows how much is used, with the text next to it."""
    part = used / total if total else 0.0
    return format_html(
        '<span class="share"><svg class="bar{}" aria-hidden="true">'
        '<rect width="100%" height="100%"/><rect class="fill" width="{}%" height="100%"/></svg> '
        "{}</span>",
        " bar-crowded" if part >= CROWDED else "",
        f"{100 * min(part, 1.0):.1f}",
        text,
    )


def share(used: int, total: int, shown: Callable[[int], str] = str) -> str:
    """The used part of a total as text. A total of 0 means that there is no limit."""
    if not total:
        return f"{shown(used)} (no limit)"
    return bar(used, total, f"{100 * used / total:.0f} % of {shown(total)}")


def progress(percent: float) -> SafeString:
    """A bar of the progress of work."""
    text = f"{int(percent)} %"
    return format_html(
        '<span class="share"><progress max="100" value="{}" aria-label="{}"></progress> {}</span>',
        percent,
        text,
        text,
    )


def two_lines(first: str, second: str) -> SafeString:
    """A cell with a main line, and a second line in a quieter colour."""
    return format_html(
        '<span class="two-lines"><span>{}</span><small>{}</small></span>', first, second
    )


def due(at: dt.datetime, now: dt.datetime) -> str:
    """The time of a deadline as text, or how long it is overdue."""
    left = at - now
    if left >= dt.timedelta():
        return f"in {span(left)}"
    return format_html('<span class="overdue">overdue for {}</span>', span(-left))
