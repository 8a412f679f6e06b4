"""Commands of manage.py for storage nodes and hosts: they run without Django's apps."""

import os
import subprocess
import sys

import pytest

import manage
from tests.system.stack import ROOT

LOADED = """
import sys
import manage
sys.argv = ["manage.py", {name!r}, "--help"]
try:
    manage.main({name!r})
except SystemExit as end:
    assert not end.code, end.code
found = [name for name in sys.modules if name.startswith(("django.db.models", "rest_framework"))]
assert not found, found
"""


@pytest.mark.parametrize("name", manage.TOOLS)
def test_a_tool_loads_no_models_and_needs_no_settings(name: str) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LOADED.format(name=name)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"manage.py {name}" in done.stdout
