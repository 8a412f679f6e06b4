"""``python -m tests.benchmarks.run``: measure, and print the table of docs/performance.md."""

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.benchmarks import figures, pgbench, report
from tests.benchmarks.figures import PARTS, Sizes
from tests.benchmarks.system import System

BOUND_SECONDS = 600


def run(parts: list[str], seconds: float, sizes: Sizes, folder: Path) -> str:
    """Start all of it in ``folder``, measure, stop it; Markdown."""
    if pgbench.program() is None:
        print("NO PGBENCH: nothing is compared with it; apt-get install -y postgresql", flush=True)
    system = System(folder)
    try:
        results = figures.run(parts, system, seconds, sizes)
        return report.text(results, system)
    finally:
        system.stop()


def _too_long(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(f"benchmarks: not done in {BOUND_SECONDS} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load and round")
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(BOUND_SECONDS)
    folder = Path(tempfile.mkdtemp(prefix="provisioner-benchmarks-"))
    print(f"benchmarks: logs in {folder} while they run", flush=True)
    text = run(arguments.parts or [*PARTS], arguments.seconds, Sizes(), folder)
    print(f"\n{text}")
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
