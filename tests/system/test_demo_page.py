"""Commands for the demo, of README.md and the tutorial, where further nodes are in the pool."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import pages
from tests.servers import free_port
from tests.system.standalone_steps import Standalone
from tests.waiting import eventually

SHELL = ["bash", "-euo", "pipefail", "-c"]
SECONDS = 400.0
END = "--- end of a block"


def texts(data: Path, port: int, password: str) -> list[str]:
    """The blocks, for this demo; the second goes on in the shell of the first."""
    two_minutes, further = (block.text for block in pages.of("demo"))
    shell = "\n".join(re.findall(r"(?m)^(?:url|PASSWORD)=.*$", two_minutes))
    tutorial = "".join(f"{block.text}echo '{END}'\n" for block in pages.of("tutorial"))
    changed = {".data/": f"{data}/", "30100": str(port), "PASSWORD=...": f"PASSWORD={password}"}
    made = [two_minutes, f"{shell}\n{further.rstrip().removesuffix('&')}", tutorial]
    for shown, here in changed.items():
        made = [text.replace(shown, here) for text in made]
    return made


def run(script: str) -> str:
    done = subprocess.run(
        [*SHELL, script], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def expect_as_in_tutorial(output: str) -> None:
    """What is shown after a block is part of its last answer; what is not is a success."""
    *outputs, _ = output.split(f"{END}\n")
    blocks = [block for block in pages.blocks() if block.page == "docs/tutorial/first-volume.md"]
    commands = [number for number, block in enumerate(blocks) if block.where == "tutorial"]
    for number, said in zip(commands, outputs, strict=True):
        answers = [json.loads(line) for line in said.splitlines()]
        following = blocks[number + 1] if number + 1 < len(blocks) else blocks[number]
        if following.language == "json":
            assert holds(answers.pop(), json.loads(following.text)), said
        for answer in answers:
            assert isinstance(answer, list) or answer.get("status", "Success") == "Success", said


def holds(answer: Any, shown: Any) -> bool:
    """All of ``shown`` is in the answer, with numbers of its own."""
    match shown:
        case dict():
            return all(name in answer and holds(answer[name], shown[name]) for name in shown)
        case list():
            return len(answer) == len(shown) and all(map(holds, answer, shown))
        case bool() | str():
            return bool(answer == shown)
        case _:
            return isinstance(answer, int)


def with_provisionerctl(folder: Path) -> dict[str, str]:
    """The program as ``pipx`` would put it into the path, and a configuration file of its own."""
    program = folder / "bin" / "provisionerctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m provisionerctl "$@"\n')
    program.chmod(0o755)
    return {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(pages.ROOT),
        "PROVISIONERCTL_CONFIG": str(folder / "config.yaml"),
    }


@contextmanager
def further_nodes(script: str, log: Path) -> Iterator[None]:
    with (
        log.open("wb") as output,
        subprocess.Popen([*SHELL, script], stdout=output, start_new_session=True) as process,
    ):
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)


@contextmanager
def running(demo: Standalone) -> Iterator[Standalone]:
    """Once it serves; with ``--scenario``, that has been played."""
    try:
        demo.wait_for("another one:", SECONDS)
        yield demo
    finally:
        demo.process.terminate()
        demo.process.wait(SECONDS)


@pytest.mark.timeout(1200)
def test_the_demo_and_its_commands_beside_further_nodes(tmp_path: Path) -> None:
    port, data = free_port(), tmp_path / "data"
    with running(Standalone(data, port)) as first:
        [password] = re.findall(r"Password +(\S+)", first.output)
        two_minutes, further, tutorial = texts(data, port, password)
        log = tmp_path / "further"
        with contextlib.ExitStack() as stay:
            stay.enter_context(further_nodes(further, log))
            eventually(
                lambda: log.read_text().count("added") == 2, seconds=SECONDS, what=log.read_text
            )
            beside = stay.pop_all()
    with beside, running(Standalone(data, port, "--scenario")):
        done = subprocess.run(
            [*SHELL, two_minutes],
            env=os.environ | with_provisionerctl(tmp_path),
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        expect_as_in_tutorial(run(tutorial))
    assert done.returncode == 0, done.stderr
    assert re.findall(r"Error: (\w+)|(exit code 7)", done.stderr + done.stdout) == [
        ("NoMatchingBackend", ""),
        ("", "exit code 7"),
    ]
    for said in (
        "6 of 6 Available",
        "CHOSEN",
        "Volume first was created: ",
        "Volume first is published to my-host.",
        '"alias":"first"',
        "Volume first is not published to my-host any more.",
        "Volume first was deleted.",
    ):
        assert said in done.stdout, done.stdout
