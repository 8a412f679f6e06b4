"""Contexts: the URL of an API and the credentials of a caller. They come from options, the
environment, and a file that only its owner may read (mode 0600).
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from provisionerctl.errors import Exit, Failure

DEFAULT_URL = "https://127.0.0.1:30100"
PREFIX = "PROVISIONERCTL_"
SECRETS = ("password", "token")
TRUE = {"1", "true", "yes"}


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

    def save(self) -> None:
        """Replace the file. Only its owner can read the new file.

        :raises Failure: the file cannot be written.
        """
        contexts = {
            name: {key: value for key, value in asdict(context).items() if value}
            for name, context in sorted(self.contexts.items())
        }
        text = yaml.safe_dump({"current": self.current, "contexts": contexts}, sort_keys=False)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name)
            with os.fdopen(handle, "w") as file:  # mkstemp makes files of mode 0600
                file.write(text)
            Path(temporary).replace(self.path)
        except OSError as error:
            raise Failure(f"{self.path} cannot be written: {error.strerror}.", Exit.USAGE) from None


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
    try:
        content = yaml.safe_load(text) or {}
        contexts = {name: _context(row) for name, row in (content.get("contexts") or {}).items()}
        found = Contexts(path, str(content.get("current") or ""), contexts)
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
    values: dict[str, Any] = {k: v if k == "insecure" else str(v) for k, v in row.items()}
    return Context(**values)


def from_environment(environment: Mapping[str, str] = os.environ) -> Context:
    """Return the context of the variables PROVISIONERCTL_URL, PROVISIONERCTL_USER and so on."""
    given: dict[str, Any] = {name: environment.get(PREFIX + name.upper(), "") for name in NAMES}
    given["insecure"] = str(given["insecure"]).lower() in TRUE
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
