"""The fenced blocks of all documentation pages, and where each is tested.

The word after the language says how a block is tested: ``install`` (on a new server, from the first
block to the last), ``server`` (on that server afterwards), ``node`` (there, after a node was
freed), ``demo`` (while ``make demo`` runs).
"""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
"""Also within a list, where it is indented."""


@dataclass(frozen=True)
class Block:
    page: str
    language: str
    where: str
    text: str

    @property
    def name(self) -> str:
        """The page and the first line of the block."""
        return f"{self.page}: {self.text.splitlines()[0]}"


def blocks() -> list[Block]:
    """Return all blocks, in order."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [
        _block(str(page.relative_to(ROOT)), info.split(), text)
        for page in pages
        for _, info, text in FENCE.findall(page.read_text())
    ]


def _block(page: str, words: list[str], text: str) -> Block:
    language, where = [*words, "", ""][:2]
    return Block(page, language, where, textwrap.dedent(text))


def of(where: str, page: str = "") -> list[Block]:
    return [block for block in blocks() if block.where == where and block.page.startswith(page)]
