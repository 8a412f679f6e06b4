"""``python -m tests.benchmarks.run`` prints the table of docs/reference/performance.md."""

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.benchmarks import figures, pgbench, rebuild, report
from tests.benchmarks.figures import PARTS, UNASKED, Results, Sizes
from tests.benchmarks.system import System

BOUND_SECONDS = 570
LONG_BOUND_SECONDS = 3600


class OutOfTime(Exception):
    """The time limit of the run is reached."""


def run(parts: list[str], seconds: float, sizes: Sizes, folder: Path) -> str:
    """Start the system in ``folder``, measure, and stop it. Returns Markdown with the figures that
    were measured in time.
    """
    if pgbench.program() is None:
        print("NO PGBENCH: nothing is compared with it; Debian has it in postgresql", flush=True)
    form = (rebuild.SETTINGS, rebuild.RACKS) if "rebuild" in parts else ()
    system, results = System(folder, *form), Results()
    try:
        figures.run(parts, system, seconds, sizes, results)
    except OutOfTime:
        results.notes.append("NOT COMPLETE: the time was over")
    finally:
        text = report.text(results, system)
        system.stop()
    return text


def _too_long(number: int, frame: FrameType | None) -> NoReturn:
    raise OutOfTime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], help="default: those that take seconds"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="of each load and round")
    arguments = parser.parse_args()
    parts = arguments.parts or UNASKED
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(BOUND_SECONDS if set(parts) <= set(UNASKED) else LONG_BOUND_SECONDS)
    folder = Path(tempfile.mkdtemp(prefix="provisioner-benchmarks-"))
    print(f"benchmarks: logs in {folder} while they run", flush=True)
    text = run(parts, arguments.seconds, Sizes(), folder)
    print(f"\n{text}")
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
