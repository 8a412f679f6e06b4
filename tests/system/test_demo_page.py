"""The commands for the demo in README.md and the tutorials, with further nodes in the pool."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Demo:
    """A running demo. ``environment``: the environment of a shell that finds ``provisionerctl``."""

    data: Path
    port: int
    password: str
    environment: dict[str, str]

    def here(self, text: str) -> str:
        """Return a text of a page, adapted to this demo."""
        changed = {
            ".data/": f"{self.data}/",
            "30100": str(self.port),
            "PASSWORD=...": f"PASSWORD={self.password}",
        }
        for shown, here in changed.items():
            text = text.replace(shown, here)
        return text

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*SHELL, self.here(script)],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done


def expect_as_in_tutorial(output: str) -> None:
    """Check the last answer of a block. If the page shows an answer after the block, the last
    answer contains it, otherwise it is a success.
    """
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
    """Whether the answer contains all of ``shown``. Numbers may differ."""
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
    """Install the program in the path as ``pipx`` would, with a separate configuration file."""
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
    """Start the demo, and return when it serves. With ``--scenario``, return after the scenario."""
    try:
        demo.wait_for("reset:", SECONDS)
        yield demo
    finally:
        demo.process.terminate()
        demo.process.wait(SECONDS)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo after its scenario, with the further nodes of README.md in the pool."""
    folder, port = tmp_path_factory.mktemp("demo"), free_port()
    data, log = folder / "data", folder / "further"
    with running(Standalone(data, port)) as first:
        [password] = re.findall(r"Password +(\S+)", first.output)
        made = Demo(data, port, password, with_provisionerctl(folder))
        two_minutes, further = (block.text for block in pages.of("demo"))
        shell = "\n".join(re.findall(r"(?m)^(?:url|PASSWORD)=.*$", two_minutes))
        script = made.here(f"{shell}\n{further.rstrip().removesuffix('&')}")
        with contextlib.ExitStack() as stay:
            stay.enter_context(further_nodes(script, log))
            eventually(
                lambda: log.read_text().count("added") == 2, seconds=SECONDS, what=log.read_text
            )
            beside = stay.pop_all()
    with beside, running(Standalone(data, port, "--scenario")):
        yield made


@pytest.mark.timeout(1200)
def test_the_commands_of_the_readme_work(demo: Demo) -> None:
    done = demo.run(pages.of("demo")[0].text)
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
        "Volume first is no longer published to my-host.",
        "Volume first was deleted.",
    ):
        assert said in done.stdout, done.stdout


def test_the_commands_of_the_first_tutorial_work(demo: Demo) -> None:
    blocks = pages.of("tutorial")
    done = demo.run("".join(f"{block.text}echo '{END}'\n" for block in blocks))
    expect_as_in_tutorial(done.stdout)


def test_the_commands_of_the_operators_tutorial_work(demo: Demo) -> None:
    """A new operator adds nodes, sees why a create is refused, notices a dead node and the volume
    that it affects, and drains a node.
    """
    script = "".join(f"{block.text}echo '{END}'\n" for block in pages.of("walk"))
    for port in ("30111", "30112", "30113"):
        script = script.replace(port, str(free_port()))
    done = demo.run(script)
    _, _, added, refused, trial, created, event, _, dead, means, _, drained, after, _, _ = (
        done.stdout.split(END)
    )
    assert added.count("rack-8") == 2, added
    assert "exit code 7" in refused, refused
    assert "Error: NotEnoughMatchingBackends: 2 of 3 replicas can be placed" in done.stderr
    assert "one replica per rack" in trial, trial
    assert "Volume database was created" in created, created
    assert "Volume database of 10 GiB could not be placed" in event, event
    assert re.search(r"node green-1 +Unavailable: .*volumes on it: 1", dead), dead
    assert re.search(r"volume database +Degraded: 1 of 2 replicas can be used", dead), dead
    assert "volumes that lose access: 1, volumes that lose redundancy: 0" in means, means
    assert "green-1" in means, means
    assert "is drained." in drained, drained
    assert "is done: 1 replica(s) were moved away" in after, after
    assert re.search("HEALTH +Healthy", after), after
