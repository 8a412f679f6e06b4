"""Filters for the templates of the console."""

import datetime as dt

from django import template
from django.contrib.admin.utils import quote
from django.utils.safestring import SafeString

from provisioner.common import display

register = template.Library()

register.filter("size", display.size)
register.filter("rate", display.rate)
register.filter("badge", display.badge)
register.filter("progress_bar", display.progress)
register.filter("admin_quote", quote)


@register.filter
def duration(seconds: float) -> str:
    """Return seconds as text, in their largest unit."""
    return display.span(dt.timedelta(seconds=seconds))


@register.filter
def share(used: int, total: int) -> str | SafeString:
    """Return a bar that shows a number as a part of the total."""
    return display.share(used, total, display.number)


@register.filter
def share_size(used: int, total: int) -> str | SafeString:
    """Return a bar that shows bytes as a part of the total."""
    return display.share(used, total, display.size)


@register.filter
def share_rate(used: int, total: int) -> str | SafeString:
    """Return a bar that shows bytes per second as a part of the total."""
    return display.share(used, total, display.rate)


@register.filter
def percent_of(part: int, total: int) -> str:
    """Return a part of a total in percent, for lengths in pictures."""
    return f"{100 * part / total:.2f}%" if total else "0%"


@register.filter
def height(percent: float, full: int) -> str:
    """Return the height of the used part in a picture."""
    return f"{percent * full / 100:.2f}"


@register.filter
def from_top(percent: float, full: int) -> str:
    """Return the distance from the top of a picture to the used part, which starts at the
    bottom.
    """
    return f"{full - percent * full / 100:.2f}"
