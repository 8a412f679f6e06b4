"""Each kind is recorded somewhere with the facts that its sentence names, and is documented."""

import ast
import string
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from events.kinds import Kind

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("provisioner", "tasks", "inventory", "volumes")
RECORDERS = {
    "record": set(),
    "replica_record": {"volume", "replica", "backend", "alias"},
    "publication_record": {"volume", "host", "alias"},
    "orphan_record": {"backend", "type", "name"},
    "task_record": {"task", "type"},
}
"""Functions that record an event of a kind, and the facts that they add themselves."""


@cache
def trees() -> list[ast.Module]:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    return [ast.parse(file.read_text()) for file in files if "migrations" not in file.parts]


def named() -> Iterator[str]:
    """Return the kinds that the code names."""
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "Kind":
                yield node.attr


def calls() -> Iterator[tuple[Kind, set[str]]]:
    """Yield the kind and the facts of each call that names its kind and all its facts."""
    for tree in trees():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            facts = {str(keyword.arg) for keyword in node.keywords}
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            if name not in RECORDERS or "None" in facts:  # None: facts of a dict
                continue
            for kind in ast.walk(node):
                if isinstance(kind, ast.Attribute) and ast.unparse(kind.value) == "Kind":
                    yield Kind[kind.attr], facts | RECORDERS[name]


def test_code_records_each_kind() -> None:
    assert set(named()) == {kind.name for kind in Kind}


def test_each_call_gives_the_facts_of_the_sentence() -> None:
    found = list(calls())
    assert len(found) > 30
    for kind, facts in found:
        wanted = {name for _, name, _, _ in string.Formatter().parse(kind.value.text) if name}
        assert wanted <= facts, kind


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.wire)
def test_each_kind_has_a_unique_name_and_a_sentence(kind: Kind) -> None:
    assert kind.wire.isalpha()
    assert len(kind.wire) <= 32
    assert [other for other in Kind if other.wire == kind.wire] == [kind]
    assert not kind.value.text.endswith(".")
    assert kind.value.when.endswith(".")
