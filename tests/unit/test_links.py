"""All pages: links, indexes, and the files that docs/architecture.md names."""

import re
import subprocess
from fnmatch import fnmatch
from functools import cache
from itertools import product
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE_BLOCK = re.compile(r"^( *)```.*?^\1```$", re.DOTALL | re.MULTILINE)
CODE = re.compile(rf"{CODE_BLOCK.pattern}|`[^`\n]+`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")
FILE = re.compile(
    r"(?<![\w/])[\w*][\w*/-]*(?:\{[\w,]+\})?[\w*/-]*\.(?:py|md|yaml|yml|cfg|toml|txt)"
)
"""The name of a file, also with folders and alternatives: ``models/{volume,replica}.py``."""
ARCHITECTURE = (
    "docs/architecture.md",
    "docs/explanation/reconciliation.md",
    "docs/explanation/node-agent.md",
)
FORBIDDEN = {"helpers.py", "signals.py", "utils.py"}
"""Names that no file may have; the page says so."""


@cache
def files() -> tuple[str, ...]:
    """Paths in the repository, including new files that are not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(name for name in listed.stdout.splitlines() if (ROOT / name).exists())


PAGES = [name for name in files() if name.endswith(".md")]


@cache
def anchors(page: Path) -> frozenset[str]:
    """Anchors of the headings, as GitHub and MkDocs create them; repeated ones have a number."""
    found: dict[str, int] = {}
    for title in re.findall(r"(?m)^#+ (.+)$", CODE_BLOCK.sub("", page.read_text())):
        name = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        number = found[name] = found.get(name, -1) + 1
        found[f"{name}-{number}" if number else name] = 0
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES)
def test_each_link_leads_to_an_existing_file_or_heading(page: str) -> None:
    path = ROOT / page
    for target in LINK.findall(CODE.sub("", path.read_text())):
        name, _, anchor = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


def test_links_of_the_site_stay_within_docs() -> None:
    """MkDocs shows only what is in docs/."""
    for page in PAGES:
        if page.startswith("docs/"):
            for target in LINK.findall(CODE.sub("", (ROOT / page).read_text())):
                linked = ((ROOT / page).parent / target.partition("#")[0]).resolve()
                assert linked.is_relative_to(ROOT / "docs"), (page, target)


def test_each_decision_is_in_the_index_by_its_number() -> None:
    folder = ROOT / "docs/decisions"
    index = re.findall(r"(?m)^\| \[(\d+)\]\(([^)]+)\) \|", (folder / "README.md").read_text())
    pages = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert [name for _, name in index] == pages
    assert [int(number) for number, _ in index] == [int(name[:4]) for name in pages]


def test_each_page_is_in_the_navigation_of_the_site() -> None:
    listed = re.findall(r"(?m)^ +- (?:.*: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text())
    pages = [name.removeprefix("docs/") for name in PAGES if name.startswith("docs/")]
    apart = re.compile(r"decisions/(\d|template)")
    assert sorted(listed) == sorted(name for name in pages if not apart.match(name))


def alternatives(name: str) -> list[str]:
    """Expand alternatives: ``a/{b,c}.py`` stands for two files."""
    parts = re.split(r"\{([^}]*)\}", name)
    choices = [part.split(",") if number % 2 else [part] for number, part in enumerate(parts)]
    return ["".join(chosen) for chosen in product(*choices)]


def exists(name: str) -> bool:
    """Whether a file exists; pages may omit leading folders: ``agent/presence.py``."""
    return any(fnmatch(file, name) or fnmatch(file, f"*/{name}") for file in files())


def test_architecture_names_files_that_exist() -> None:
    text = LINK.sub("", "".join((ROOT / page).read_text() for page in ARCHITECTURE))
    named = {name for found in FILE.findall(text) for name in alternatives(found)}
    assert len(named) > 40
    assert {name for name in named if not exists(name)} == FORBIDDEN


def test_a_file_that_is_missing_would_be_found() -> None:
    assert alternatives("models/{a,b}.py") == ["models/a.py", "models/b.py"]
    assert exists("agent/presence.py")
    assert exists("*/jobs.py")
    assert not exists("agent/absence.py")
