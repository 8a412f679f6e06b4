"""Contexts: the sources of options, and the permissions of the file."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from provisionerctl.config import Context, config_path, resolve
from tests.cli.conftest import PROGRAM, Run


@pytest.fixture
def file(environment: dict[str, str]) -> Path:
    return Path(environment["PROVISIONERCTL_CONFIG"])


def test_the_path_of_the_configuration_follows_the_environment() -> None:
    assert config_path({"XDG_CONFIG_HOME": "/x"}) == Path("/x/provisionerctl/config.yaml")
    assert config_path({}) == Path.home() / ".config/provisionerctl/config.yaml"
    assert config_path({"PROVISIONERCTL_CONFIG": "/y"}) == Path("/y")


def test_a_context_is_kept_for_its_owner_alone(run: Run, file: Path) -> None:
    options = ["--url", "https://a", "--user", "olga", "--ca", "/ca.pem"]
    assert run("context", "set", "lab", *options, "--password-stdin", text="secret\n").code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert yaml.safe_load(file.read_text()) == {
        "current": "lab",
        "contexts": {
            "lab": {"url": "https://a", "user": "olga", "password": "secret", "ca": "/ca.pem"}
        },
    }
    listed = run("context", "-o", "json").out
    assert json.loads(listed)[0]["current"] is True
    assert "secret" not in listed
    assert run("context", "set", "lab", "--token-stdin", text="jwt").code == 0
    [(_, row)] = yaml.safe_load(file.read_text())["contexts"].items()
    assert row == {"url": "https://a", "token": "jwt", "ca": "/ca.pem"}


def test_a_file_that_others_read_is_refused(run: Run, file: Path) -> None:
    run("context", "set", "lab", "--url", "https://a", "--token-stdin", text="jwt")
    file.chmod(0o640)
    ran = run("nodes")
    assert ran.code == 2
    assert ran.err.endswith(f"Close it with: chmod 600 {file}\n")


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "- a",
        "contexts: {a: {ulr: x}}",
        "contexts: {a: 1}",
        "contexts: {a: {insecure: perhaps}}",
        'contexts: {a: {password: "s3cret"word"}}',
        "contexts: {a: {user: \xff}}",
    ],
)
def test_a_malformed_file_is_refused(run: Run, file: Path, text: str) -> None:
    """The message shows no line of the file, because that may be a secret."""
    file.parent.mkdir()
    file.write_bytes(text.encode("latin-1"))
    ran = run("nodes")
    assert (ran.code, ran.err.startswith(f"Error: {file} is not a file of contexts: ")) == (2, True)
    assert "s3cret" not in ran.err


def test_values_of_a_file_mean_what_they_say(run: Run, file: Path) -> None:
    file.parent.mkdir()
    values = {"insecure": "false", "key": "", "token": "jwt\r\n"}
    rows = "".join(f"    {name}: {json.dumps(value)}\n" for name, value in values.items())
    file.write_text(f"current: a\ncontexts:\n  a:\n    url: https://a\n    ca:\n{rows}")
    file.chmod(0o600)
    assert resolve(Context()) == Context(url="https://a", token="jwt")


def test_changes_at_the_same_time_are_all_kept(
    environment: dict[str, str], run: Run, file: Path
) -> None:
    names = {f"context-{number}" for number in range(6)}
    begun = [
        subprocess.Popen([*PROGRAM, "context", "set", name, "--url", "https://a"], env=environment)
        for name in names
    ]
    assert [one.wait() for one in begun] == [0] * len(names)
    assert set(yaml.safe_load(file.read_text())["contexts"]) == names


def test_a_context_has_a_name_and_one_secret(run: Run) -> None:
    assert run("context", "set", "", "--url", "https://a").code == 2
    assert run("context", "set", "a", "--token-stdin", "--password-stdin", text="x").code == 2


def test_options_override_the_environment_and_the_environment_the_context(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("context", "set", "a", "--url", "https://a", "--user", "u", "--password-stdin", text="p")
    run("context", "set", "b", "--url", "https://b", "--tenant", "acme")
    stored = Context(url="https://a", user="u", password="p")
    assert resolve(Context()) == stored
    assert resolve(Context(), "b") == Context(url="https://b", tenant="acme")
    monkeypatch.setenv("PROVISIONERCTL_TENANT", "other")
    monkeypatch.setenv("PROVISIONERCTL_TOKEN", "jwt")
    assert resolve(Context()) == Context(url="https://a", token="jwt", tenant="other")
    assert resolve(Context(user="v")).token == ""
    assert run("context", "use", "b").code == 0
    assert resolve(Context(tenant="mine")).tenant == "mine"
    assert resolve(Context()).url == "https://b"
    assert run("context", "delete", "b").code == 0
    assert run("context", "use", "b").code == 2


def test_wrong_files_and_addresses_are_named(run: Run) -> None:
    for options, said in {
        ("--ca", "/none"): "Error: The certificate /none cannot be used: No such file",
        ("--certificate", "/none"): "Error: The certificate /none cannot be used: No such file",
        ("--url", "127.0.0.1"): "Error: '127.0.0.1' is not a URL",
        ("--context", "none"): "Error: ",
    }.items():
        ran = run("nodes", *options)
        assert (ran.code, ran.err.startswith(said)) == (2, True), ran
