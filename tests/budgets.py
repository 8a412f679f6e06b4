"""Checks the budgets in docs/architecture.md, section 12, except complexity, which ruff checks.

``python -m tests.budgets`` prints what exceeds a budget, and exits with 1 if anything does.
"""

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

FILE_LINES_NEVER = 400
FILE_LINES_P90 = 200
TEST_LINES_P90 = 300
FUNCTION_LINES_P90 = 25
SHOWN = 10


@dataclass(frozen=True, order=True)
class Size:
    lines: int
    name: str


def main(root: Path) -> int:
    """Measure the sources under ``root``. Returns 1 if a budget is exceeded."""
    files, functions = measure(sources(root), root)
    broken = [
        f"{size.name}: {size.lines} lines, never more than {FILE_LINES_NEVER}"
        for size in files
        if size.lines > FILE_LINES_NEVER
    ]
    tests = [size for size in files if size.name.startswith("tests/")]
    code = [size for size in files if size not in tests]
    broken += over_p90("files", code, FILE_LINES_P90)
    broken += over_p90("test files", tests, TEST_LINES_P90)
    broken += over_p90("functions", functions, FUNCTION_LINES_P90)
    print(
        f"{len(code)} files, p90 {p90(code):.0f} lines; "
        f"{len(tests)} test files, p90 {p90(tests):.0f} lines; "
        f"{len(functions)} functions, p90 {p90(functions):.0f} lines"
    )
    print("\n".join(broken), end="\n" if broken else "")
    return 1 if broken else 0


def sources(root: Path) -> list[Path]:
    """Return the Python files that git tracks or would add, without migrations."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    names = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    paths = {root / name for name in names.splitlines() if "/migrations/" not in name}
    return sorted(path for path in paths if path.is_file())


def measure(paths: list[Path], root: Path) -> tuple[list[Size], list[Size]]:
    """Return the sizes of the files that are not empty, and of their functions from ``def`` on."""
    files, functions = [], []
    for path in paths:
        text, name = path.read_text(), str(path.relative_to(root))
        if not text.strip():
            continue
        files.append(Size(len(text.splitlines()), name))
        functions += [
            Size(
                (node.end_lineno or node.lineno) - node.lineno + 1,
                f"{name}:{node.lineno} {node.name}",
            )
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
    return files, functions


def p90(sizes: list[Size]) -> float:
    return quantiles([size.lines for size in sizes], n=10, method="inclusive")[-1]


def over_p90(kind: str, sizes: list[Size], budget: int) -> list[str]:
    """Return the longest ones if more than a tenth exceeds the budget."""
    if p90(sizes) <= budget:
        return []
    longest = ", ".join(
        f"{size.name} ({size.lines})" for size in sorted(sizes, reverse=True)[:SHOWN]
    )
    return [f"more than a tenth of the {kind} has over {budget} lines; the longest: {longest}"]


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent))
