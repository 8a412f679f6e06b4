"""Every registered saga has its checks."""

from importlib import import_module
from pathlib import Path

from tasks.saga import saga_types
from tests.sagas.checks import SagaChecks


def test_every_registered_saga_has_checks():
    for file in Path(__file__).parent.glob("test_*.py"):
        import_module(f"tests.sagas.{file.stem}")
    checked = [checks.type for checks in _all(SagaChecks) if "type" in vars(checks)]
    assert sorted(checked) == saga_types()


def _all(checks):
    for subclass in checks.__subclasses__():
        yield subclass
        yield from _all(subclass)
