import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import tool


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder that PostgreSQL's account can reach. Its logs are kept after a failure."""
    tool("haproxy")
    made = Path(tempfile.mkdtemp(prefix="provisioner-chaos-"))
    failed = request.session.testsfailed
    yield made
    if request.session.testsfailed == failed:
        shutil.rmtree(made, ignore_errors=True)
