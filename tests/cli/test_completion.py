"""Completion in a real shell, of commands, aliases and names."""

import re
import subprocess
from collections.abc import Callable

import pytest

from tests.api.volume_steps import created
from tests.cli.conftest import PROGRAM, process
from tests.conftest import Api
from tests.programs import tool

live = pytest.mark.django_db(transaction=True)


@pytest.fixture
def bash(connected: dict[str, str]) -> Callable[..., list[str]]:
    """Return the completions that bash offers after these words."""
    script = process(connected, "completion", "bash").stdout
    program = f'provisionerctl() {{ {" ".join(PROGRAM)} "$@"; }}\n'
    # the script asks the program by its first word, which is a function here
    script = script.replace("env COMP_WORDS", "COMP_WORDS").replace("$1)", "provisionerctl)")

    def offered(*words: str) -> list[str]:
        quoted = " ".join(f"'{word}'" for word in ("provisionerctl", *words))
        [name] = re.findall(r"complete .*-F (\w+) ", script)
        ask = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words)}; {name} provisionerctl\n"
        done = subprocess.run(
            [tool("bash"), "-c", f'{program}{script}\n{ask}printf "%s\\n" "${{COMPREPLY[@]}}"'],
            env=connected,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == "", done
        return done.stdout.split()

    return offered


@live
def test_bash_completes_commands_aliases_and_node_names(
    bash: Callable[..., list[str]], api: Api, pool: Callable[[int], list[str]]
) -> None:
    pool(2)
    for alias in ("first", "fish", "second"):
        created(api, alias, capacity=1)
    assert sorted(bash("volumes", "show", "fi")) == ["first", "fish"]
    assert bash("nodes", "drain", "") == ["node-1", "node-2"]
    assert bash("nodes", "dr") == ["drain", "drain-status", "drain-stop"]
    assert bash("vol") == ["volumes"]
    assert bash("volumes", "create", "a", "1", "--dry") == ["--dry-run"]
    assert bash("volumes", "-o", "w") == ["wide"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_well_formed(environment: dict[str, str], shell: str) -> None:
    program = tool(shell)
    done = process(environment, "completion", shell)
    assert done.returncode == 0
    checked = subprocess.run(
        [program, "-n"], input=done.stdout, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_silent_without_a_server(environment: dict[str, str], shell: str) -> None:
    words = "provisionerctl volumes show f"
    asking = {"_PROVISIONERCTL_COMPLETE": f"{shell}_complete", "COMP_WORDS": words}
    asking |= {"COMP_CWORD": "f" if shell == "fish" else "3"}
    done = process(environment | asking | {"PROVISIONERCTL_URL": "http://127.0.0.1:1"})
    assert (done.stdout.strip(), done.stderr) == ("", "")
