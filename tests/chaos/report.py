"""Formats the results of a run."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any


def table(rows: Iterable[Sequence[object]]) -> str:
    """Format rows with columns of the necessary width. The first column is left-aligned, the others
    are right-aligned.
    """
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = []
    for first, *others in texts:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join(["", first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def operations(counts: Mapping[str, Counter[str]]) -> str:
    rows: list[list[object]] = [["operation", "tried", "Success", "unknown", "refused"]]
    for name, codes in sorted(counts.items()):
        refused = sum(codes.values()) - codes["Success"] - codes["unknown"]
        rows.append([name, sum(codes.values()), codes["Success"], codes["unknown"], refused])
    total = sum(counts.values(), Counter[str]())
    refused = sum(total.values()) - total["Success"] - total["unknown"]
    rows.append(["all", sum(total.values()), total["Success"], total["unknown"], refused])
    return table(rows)


def refusals(counts: Mapping[str, Counter[str]]) -> str:
    total = sum(counts.values(), Counter[str]())
    codes = [(code, n) for code, n in total.most_common() if code not in {"Success", "unknown"}]
    return table([["refused with", "times"], *codes])


def moves(counts: Mapping[str, Counter[str]]) -> str:
    states = sorted(set(chain.from_iterable(counts.values())))
    rows = [[kind, *(codes[state] for state in states)] for kind, codes in sorted(counts.items())]
    return table([["task", *states], *rows])


def recoveries(
    struck: Mapping[Any, int],
    seconds: Mapping[Any, list[float]],
    settled: Mapping[Any, list[float]],
) -> str:
    """Format the times by nearest rank, so that each figure is a measured one."""
    head = ["fault", "times", "well after p50", "p95", "max", "all settled p50", "p95", "max"]
    rows: list[list[object]] = [list(head)]
    for kind, times in sorted(struck.items()):
        rows.append([kind.value, times, *ranks(seconds.get(kind)), *ranks(settled.get(kind))])
    both = [ranks(chain.from_iterable(each.values())) for each in (seconds, settled)]
    rows.append(["all", sum(struck.values()), *both[0], *both[1]])
    return table(rows)


def ranks(spans: Iterable[float] | None) -> list[str]:
    """Return p50, p95 and the maximum."""
    ordered = sorted(spans or [])
    shown = [f"{rank(ordered, share):.1f} s" for share in (0.5, 0.95, 1)]
    return shown if ordered else ["-"] * 3


def rank(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)] if ordered else math.nan
