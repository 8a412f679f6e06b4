"""Reads the CPU time and the memory of processes from /proc."""

import os
from collections.abc import Iterator
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its children, including children that have ended."""
    own = _fields(pid)
    ended = own[13:15] if own else []
    ticks = sum(map(int, [*own[11:13], *ended]))
    ticks += sum(sum(map(int, _fields(child)[11:13])) for child in children(pid))
    return ticks / TICKS


def children(pid: int) -> Iterator[int]:
    for path in PROC.glob("[0-9]*"):
        fields = _fields(int(path.name))
        if fields and int(fields[1]) == pid:
            yield int(path.name)


def forget_peak(pid: int) -> None:
    """Reset the peak of the memory of a process to its present use."""
    (PROC / str(pid) / "clear_refs").write_text("5")


def peak_mib(pid: int) -> float:
    """Return the peak of the memory of a process."""
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no process {pid}")


def _fields(pid: int) -> list[str]:
    """Return the fields from the state on (proc(5), stat). Empty: the process has ended."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
