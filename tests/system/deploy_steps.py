"""Shared steps of the tests of the files of deploy/."""

import subprocess
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"


KUBERNETES = DEPLOY / "kubernetes"


def passes(*command: object, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
