"""Shared steps of the tests of the files of deploy/."""

import json
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"


KUBERNETES = DEPLOY / "kubernetes"


@dataclass(frozen=True)
class Dockerfile:
    python: str
    """The version of Python in the tag of the base image."""
    variables: dict[str, str]
    user: str
    """The user that runs CMD. Empty: root."""
    uid: str
    """Of the user that the image creates."""
    created: str
    """The name of that user."""
    data: str
    """The folder that this user owns."""
    port: int
    command: list[str]


@cache
def dockerfile() -> Dockerfile:
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")

    def last(pattern: str) -> str:
        found: list[str] = re.findall(rf"(?m){pattern}", text)
        return found[-1] if found else ""

    return Dockerfile(
        python=last(r"^FROM python:([\d.]+)-"),
        variables=dict(pair.split("=", 1) for pair in last(r"^ENV (.+)$").split()),
        user=last(r"^USER (\S+)$"),
        uid=last(r"useradd .*--uid (\d+)"),
        created=last(r"useradd .* (\w+) +&&"),
        data=last(r"mkdir (\S+) && chown \w+ \1"),
        port=int(last(r"^EXPOSE (\d+)$")),
        command=json.loads(last(r"^CMD (\[.+\])$")),
    )


def seconds(text: str) -> float:
    """Return a time of compose, HAProxy or Prometheus in seconds."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
    parts = re.findall(r"(\d+)(ms|[smhd])", text)
    assert "".join(number + unit for number, unit in parts) == text
    return sum(int(number) * units[unit] for number, unit in parts)


def passes(
    *command: object, environment: dict[str, str] | None = None, cwd: Path | None = None
) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
