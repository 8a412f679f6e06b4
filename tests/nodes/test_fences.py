"""The time for which removed names are remembered."""

import time

import pytest

from inventory.nodes.agent import fences as fences_module
from inventory.nodes.agent.database import Database
from inventory.nodes.agent.fences import KEEP_SECONDS, Fences, Name
from inventory.nodes.agent.records import Records
from inventory.nodes.errors import NodeRefused
from tests.nodes.specs import TARGET, namespace, piece, volume


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def fences(database: Database) -> Fences:
    return Fences(database, "n")


def age(database: Database, seconds: float) -> None:
    database.execute("UPDATE fence SET at = at - ?", seconds)


def is_remembered(fences: Fences, name: Name) -> bool:
    try:
        fences.admit(name, 1)
    except NodeRefused:
        return True
    return False


def test_removed_names_are_remembered_for_a_day(database: Database, fences: Fences) -> None:
    old, young = Name("old"), Name("young", TARGET)
    fences.raise_to(old, 1, removed=True)
    age(database, 3600)
    fences.raise_to(young, 1, removed=True)
    age(database, KEEP_SECONDS - 1800)
    fences.purge()
    assert not is_remembered(fences, old)
    assert is_remembered(fences, young)


def test_the_newest_generation_is_remembered_when_its_name_is_forgotten(
    database: Database, fences: Fences
) -> None:
    """A restored database of the provisioner must not issue it again."""
    fences.raise_to(Name("old"), 7, removed=True)
    fences.raise_to(Name("older"), 5, removed=True)
    age(database, KEEP_SECONDS + 1)
    fences.purge()
    assert not is_remembered(fences, Name("old"))
    assert fences.newest() == 7
    fences.raise_to(Name("young"), 6, removed=True)
    fences.purge()
    assert fences.newest() == 7


def test_names_of_existing_objects_are_never_forgotten(database: Database, fences: Fences) -> None:
    records = Records(database, "n")
    records.put_volume("v", volume(piece("s"), generation=2))
    records.put_namespace(TARGET, "v", namespace(generation=2))
    for name in (Name("v"), Name("v", TARGET), Name.of_sync("v"), Name.of_sync("gone")):
        fences.raise_to(name, 2)
    Fences(database, "other").raise_to(Name("v"), 2, removed=True)
    age(database, 2 * KEEP_SECONDS)
    fences.purge()
    assert is_remembered(fences, Name("v"))
    assert is_remembered(fences, Name("v", TARGET))
    assert is_remembered(fences, Name.of_sync("v"))
    assert not is_remembered(fences, Name.of_sync("gone"))
    assert is_remembered(Fences(database, "other"), Name("v"))


def test_the_number_of_removed_names_is_limited(
    database: Database, fences: Fences, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fences_module, "KEEP_GONE", 10)
    monkeypatch.setattr(fences_module, "PURGE_EVERY", 20)
    for number in range(40):
        fences.raise_to(Name(f"v{number}"), 1, removed=True)
        time.sleep(0.0001)
    kept = [number for number in range(40) if is_remembered(fences, Name(f"v{number}"))]
    assert kept == list(range(30, 40))
