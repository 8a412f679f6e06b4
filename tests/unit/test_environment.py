"""Wrong settings end the start with a sentence that names the variable and the rule."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from provisioner import environment

ROOT = Path(__file__).resolve().parent.parent.parent
GOOD = {"SECRET_KEY": "k" * 40}


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment with no variables of ours except those in GOOD."""
    for name in environment.Environment.model_fields:
        monkeypatch.delenv(environment.variable_name(name), raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    return monkeypatch


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("SECRET_KEY", "", "SECRET_KEY: Field required."),
        ("SECRET_KEY", "short", "SECRET_KEY: must have at least 32 characters."),
        (
            "LICENSE_PUBLIC_KEY",
            "AAAA",
            "LICENSE_PUBLIC_KEY: must be the base64 of 32 bytes.",
        ),
        ("TOKEN_KEYS", "short", "TOKEN_KEYS: each key must have at least 32 characters."),
        (
            "DATABASE_URL",
            "mysql://u:hidden@h/n",
            "DATABASE_URL: must be a postgresql:// or sqlite:// address.",
        ),
        (
            "DATABASE_URL",
            "hidden",
            "DATABASE_URL: must be a postgresql:// or sqlite:// address.",
        ),
        (
            "REDIS_URL",
            "http://hidden",
            "REDIS_URL: must be a redis://, rediss:// or memory:// address.",
        ),
        (
            "API_PORT",
            "x",
            "API_PORT: Input should be a valid integer, unable to parse string as an integer.",
        ),
        ("API_PORT", "0", "API_PORT: Input should be greater than or equal to 1."),
        ("API_PORT", "65536", "API_PORT: Input should be less than or equal to 65535."),
        ("NODE_CALL_SECONDS", "26", "NODE_CALL_SECONDS: Input should be less than or equal to 25."),
        (
            "TRUSTED_PROXIES",
            "lb.example",
            "TRUSTED_PROXIES: 'lb.example' does not appear to be an IPv4 or IPv6 network.",
        ),
        (
            "LOG_LEVEL",
            "LOUD",
            "LOG_LEVEL: Input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'.",
        ),
        (
            "DATABASE_POOL_SIZE",
            "19",
            "DATABASE_POOL_SIZE must be 0, or at least API_THREADS plus 4.",
        ),
        ("UNFINISHED_SECONDS", "20", "UNFINISHED_SECONDS must be more than NODE_CALL_SECONDS."),
        (
            "REQUIRE_CLIENT_CERTIFICATE",
            "true",
            "REQUIRE_CLIENT_CERTIFICATE needs TLS_CLIENT_CA, or TRUSTED_PROXIES that verify "
            "certificates.",
        ),
        ("TLS_KEY", "server.key", "TLS_CERTIFICATE and TLS_KEY must be set together."),
        (
            "TLS_CLIENT_CA",
            "ca.pem",
            "TLS_CLIENT_CA needs TLS_CERTIFICATE: client certificates are verified only over TLS.",
        ),
        (
            "API_WORKERS",
            "2",
            "API_WORKERS above 1 needs a REDIS_URL: memory:// works only within one process.",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_its_rule(
    variables: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    variables.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        environment.load()
    assert stopped.value.code == f"provisioner: wrong setting: {sentence}"
    assert "hidden" not in str(stopped.value.code)


@pytest.mark.parametrize(("value", "size"), [("", 24), ("0", 0), ("20", 20)])
def test_the_pool_has_connections_for_all_requests_that_run(
    variables: pytest.MonkeyPatch, value: str, size: int
) -> None:
    variables.setenv("DATABASE_POOL_SIZE", value)
    assert environment.load().pool_size == size


def test_the_process_ends_with_a_sentence_and_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env=os.environ | GOOD | {"DATA_DIR": str(tmp_path), "API_PORT": "none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "provisioner: wrong setting: API_PORT: Input should be a valid integer, "
        "unable to parse string as an integer.\n"
    )


def test_the_settings_file_gives_variables_that_are_not_set(
    variables: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    variables.delenv("SECRET_KEY")
    (tmp_path / "settings.env").write_text(
        f"SECRET_KEY={'f' * 40}\nAPI_PORT=1234\nREDIS_URL=redis://file\nTLS_KEY=${{DATA_DIR}}/key\n"
        f"TLS_CERTIFICATE=${{DATA_DIR}}/certificate\n"
    )
    variables.setenv("API_PORT", "4321")
    loaded = environment.load()
    assert loaded.secret_key.get_secret_value() == "f" * 40
    assert loaded.api_port == 4321
    assert loaded.broker_url.get_secret_value() == "redis://file"
    assert loaded.tls_key == tmp_path / "key"


def test_an_empty_variable_counts_as_not_set(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("API_PORT", "")
    assert environment.load().api_port == 30100


def test_secrets_are_not_shown() -> None:
    secret = "never-shown-never-shown-never-shown"
    shown = repr(environment.Environment(secret_key=secret, database_url=f"sqlite:///{secret}"))
    assert secret not in shown
