"""Sizes, times and tables in the form in which people write and read them."""

import io
from collections.abc import Callable
from typing import Any

import click
import pytest
from rich.console import Console

from provisionerctl.errors import Failure, NoAnswer, Refused
from provisionerctl.output import Column, Format, details, table
from provisionerctl.session import Session
from provisionerctl.units import (
    Duration,
    Size,
    gib_text,
    rate_text,
    seconds_text,
    size_text,
    span_text,
)

NARROW = 40


@pytest.mark.parametrize(
    ("text", "gib"),
    [("10", 10), ("10GiB", 10), ("10 G", 10), ("2T", 2048), ("1.5TiB", 1536), ("1P", 2**20)],
)
def test_sizes_are_read_in_gib(text: str, gib: int) -> None:
    assert Size().convert(text, None, None) == gib


@pytest.mark.parametrize("text", ["", "x", "1.5", "10GB", "10MiB", "-1", "1e3"])
def test_a_text_that_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="not a size in whole GiB"):
        Size().convert(text, None, None)


def test_durations_are_read_in_seconds() -> None:
    texts = ["90", "90s", "15m", "12h", "30d"]
    assert [Duration().convert(text, None, None) for text in texts] == [
        *(90, 90, 900, 43200),
        2592000,
    ]
    with pytest.raises(click.BadParameter):
        Duration().convert("1w", None, None)


def test_values_are_shown_in_readable_units() -> None:
    assert [size_text(n) for n in (0, 1023, 1024, 10 * 2**30, 3 * 2**39, 2**50)] == [
        *("0 B", "1023 B", "1 KiB", "10 GiB"),
        *("1.5 TiB", "1 PiB"),
    ]
    assert (gib_text(0), gib_text(1024)) == ("no limit", "1 TiB")
    assert rate_text(3 * 2**28) == "768 MiB/s"
    assert [seconds_text(n) for n in (6, 65, 3723)] == ["0:06", "1:05", "1:02:03"]
    assert [span_text(n) for n in (-1, 59, 60, 7200, 90000)] == [
        "0 s",
        "59 s",
        "1 min",
        "2 h",
        "1 d",
    ]


def shown(renderable: object) -> str:
    file = io.StringIO()
    Console(file=file, width=NARROW, markup=False).print(renderable)
    return file.getvalue()


def test_a_narrow_screen_keeps_names_and_loses_nothing() -> None:
    columns = [Column(title, title.lower()) for title in ("NAME", "ID", "STATE", "ZONE")]
    row = {"name": "storage-node-1", "id": "02:00:00:00:00:01", "state": "Available", "zone": "z1"}
    text = shown(table([row], columns))
    assert "storage-node-1" in text
    assert max(map(len, text.splitlines())) <= NARROW
    assert "…" not in text


def test_unknown_values_are_a_dash_or_left_out() -> None:
    columns = [Column("NAME", "name"), Column("RACK", "place.rack")]
    assert shown(table([{"name": "a"}], columns)).splitlines()[1].split() == ["a", "-"]
    assert shown(details({"name": "a"}, columns)).split() == ["NAME", "a"]


def test_control_characters_in_names_are_not_printed() -> None:
    assert "\x1b" not in shown(table([{"name": "a\x1b[2Jb"}], [Column("NAME", "name")]))
    refused = Refused({"status": "NotExists", "description": "no 'a\x1b]0;b\x07'\n"})
    assert refused.format_message() == "NotExists: no 'a ]0;b ' "


def looks(*answers: int | Failure) -> Callable[[], int]:
    """Return answers one after the other."""
    rest = list(answers)

    def fetch() -> int:
        answer = rest.pop(0)
        if isinstance(answer, Failure):
            raise answer
        return answer

    return fetch


def test_watching_survives_a_short_outage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    away, refused = NoAnswer("away"), Failure("refused")

    def watched(*answers: int | Failure) -> Any:
        session = Session(format=Format.JSON, interval=0)
        return session.show(looks(*answers), str, until=lambda n: n == 3)

    assert watched(1, away, away, 2, away, 3) == 3
    assert capsys.readouterr().out == "1\n2\n3\n"
    with pytest.raises(NoAnswer):
        watched(away, 3)
    with pytest.raises(Failure, match="refused"):
        watched(1, refused, 3)
    monkeypatch.setattr("provisionerctl.session.OUTAGE_SECONDS", -1.0)
    with pytest.raises(NoAnswer):
        watched(1, away, 3)


def test_a_long_name_hides_no_other_column() -> None:
    columns = [Column(title, title.lower()) for title in ("NAME", "STATE")]
    text = shown(table([{"name": "a" * 100, "state": "Available"}], columns))
    assert "Available" in text
    assert text.count("a") == 100 + "Available".count("a")
    assert max(map(len, text.splitlines())) <= NARROW
