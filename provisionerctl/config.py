"""Contexts: the URL of an API and the credentials of a caller. They come from options, the
environment, and a file that only its owner may read (mode 0600).
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from provisionerctl.errors import Exit, Failure

DEFAULT_URL = "https://127.0.0.1:30100"
PREFIX = "PROVISIONERCTL_"
SECRETS = ("password", "token")
TRUE, FALSE = {"1", "true", "yes"}, {"", "0", "false", "no"}


@dataclass(frozen=True)
class Context:
    """The connection to one API, with the credentials of one caller."""

    url: str = ""
    user: str = ""
    password: str = ""
    token: str = ""
    ca: str = ""
    certificate: str = ""
    key: str = ""
    tenant: str = ""
    insecure: bool = False

    def merged_over(self, other: "Context") -> "Context":
        """Return this context, with missing values from ``other``. All credentials come from one of
        the two.
        """
        given = {name: value for name, value in asdict(self).items() if value}
        below = asdict(other)
        if self.token:
            below |= {"user": "", "password": ""}
        elif self.user or self.password:
            below["token"] = ""
        return Context(**(below | given))


NAMES = tuple(item.name for item in fields(Context))


@dataclass
class Contexts:
    """The content of the configuration file."""

    path: Path
    current: str = ""
    contexts: dict[str, Context] = field(default_factory=dict)

    def named(self, name: str) -> Context:
        """Return the context with this name.

        :raises Failure: there is no such context.
        """
        if name not in self.contexts:
            known = ", ".join(sorted(self.contexts)) or "none"
            raise Failure(f"{self.path} has no context {name!r}; it has: {known}.", Exit.USAGE)
        return self.contexts[name]

    def _save(self) -> None:
        """Replace the file. Only its owner can read the new file."""
        contexts = {
            name: {key: value for key, value in asdict(context).items() if value}
            for name, context in sorted(self.contexts.items())
        }
        text = yaml.safe_dump({"current": self.current, "contexts": contexts}, sort_keys=False)
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name)
        with os.fdopen(handle, "w") as file:  # mkstemp makes files of mode 0600
            file.write(text)
        Path(temporary).replace(self.path)


@contextmanager
def changed(path: Path) -> Iterator[Contexts]:
    """The contexts in a file, which are saved at the end. Others that change it wait meanwhile.

    :raises Failure: the file is wrong, or cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.with_name(f"{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = load(path)
            yield found
            found._save()
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}.", Exit.USAGE) from None


def config_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the path of the configuration file: PROVISIONERCTL_CONFIG, or a path below
    XDG_CONFIG_HOME.
    """
    if given := environment.get(f"{PREFIX}CONFIG"):
        return Path(given)
    base = environment.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "provisionerctl" / "config.yaml"


def load(path: Path) -> Contexts:
    """Return the contexts in a file. A missing file has no contexts.

    :raises Failure: the file has a wrong format, or others may read its secrets.
    """
    try:
        text = path.read_text()
        mode = path.stat().st_mode & 0o777
    except FileNotFoundError:
        return Contexts(path)
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}.", Exit.USAGE) from None
    except UnicodeDecodeError:
        raise Failure(f"{path} is not a file of contexts: it is not UTF-8.", Exit.USAGE) from None
    try:
        content = yaml.safe_load(text) or {}
        contexts = {name: _context(row) for name, row in (content.get("contexts") or {}).items()}
        found = Contexts(path, str(content.get("current") or ""), contexts)
    except yaml.MarkedYAMLError as error:  # its text would show the line, which may be a secret
        at = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise Failure(
            f"{path} is not a file of contexts: {at}{error.problem}", Exit.USAGE
        ) from None
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise Failure(f"{path} is not a file of contexts: {error}", Exit.USAGE) from None
    if mode & 0o077 and any(context.password or context.token for context in contexts.values()):
        raise Failure(
            f"{path} holds secrets and has the mode {mode:o}: others may read it. "
            f"Close it with: chmod 600 {path}",
            Exit.USAGE,
        )
    return found


def _context(row: dict[str, Any]) -> Context:
    unknown = sorted(set(row) - set(NAMES))
    if unknown:
        raise ValueError(f"unknown: {', '.join(unknown)}; known: {', '.join(NAMES)}")
    values: dict[str, Any] = {
        name: "" if row.get(name) is None else str(row[name]) for name in NAMES
    }
    values["token"] = values["token"].strip()
    values["insecure"] = _is_true("insecure", values["insecure"])
    return Context(**values)


def _is_true(name: str, text: str) -> bool:
    if text.lower() not in TRUE | FALSE:
        raise ValueError(f"{name}: {text!r} is neither true nor false")
    return text.lower() in TRUE


def from_environment(environment: Mapping[str, str] = os.environ) -> Context:
    """Return the context of the variables PROVISIONERCTL_URL, PROVISIONERCTL_USER and so on.

    :raises Failure: PROVISIONERCTL_INSECURE is neither true nor false.
    """
    given: dict[str, Any] = {name: environment.get(PREFIX + name.upper(), "") for name in NAMES}
    given["token"] = given["token"].strip()
    try:
        given["insecure"] = _is_true(f"{PREFIX}INSECURE", given["insecure"])
    except ValueError as error:
        raise Failure(f"{error}.", Exit.USAGE) from None
    return Context(**given)


def resolve(options: Context, name: str = "") -> Context:
    """Return the context of a command. Options come first, then the environment, then the context
    in the file: ``name``, PROVISIONERCTL_CONTEXT, or the current context of the file.

    :raises Failure: the file is wrong, or has no such context.
    """
    contexts = load(config_path())
    name = name or os.environ.get(f"{PREFIX}CONTEXT", "") or contexts.current
    stored = contexts.named(name) if name else Context()
    return options.merged_over(from_environment().merged_over(stored)).merged_over(
        Context(url=DEFAULT_URL)
    )
