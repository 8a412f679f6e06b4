"""Shell completion of names. They are read from the API in one short attempt. If it fails, nothing
is completed.
"""

from collections import Counter
from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from provisionerctl.client import Client
from provisionerctl.config import config_path, load
from provisionerctl.errors import Failure
from provisionerctl.session import Session

AT_MOST = 1000
Names = list[tuple[str, str]]


class Name(click.ParamType[str]):
    """An object of the API, by a name that can be completed."""

    def __init__(self, name: str, read: Callable[[Client], Names]) -> None:
        self.name = name
        self._read = read

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        try:
            found = self._read(ctx.ensure_object(Session).completion_client)
        except (Failure, KeyError, TypeError, ValueError):
            return []
        return [
            CompletionItem(name, help=text) for name, text in found if name.startswith(incomplete)
        ]


def unique(rows: list[tuple[str, str, str]]) -> Names:
    """Return names, each with a text. If a name is also the name or id of another object, the ids
    are used instead.
    """
    texts = Counter(text for name, identifier, _ in rows for text in {name, identifier})
    return [
        (name if name and texts[name] == 1 else identifier, text) for name, identifier, text in rows
    ]


def _volumes(client: Client) -> Names:
    rows = client.pages("volumes", key="uuid", limit=AT_MOST)
    return unique([(row["alias"], row["uuid"], row["uuid"]) for row in rows])


def _snapshots(client: Client) -> Names:
    rows = client.pages("snapshots", key="snapshotID", limit=AT_MOST)
    return unique([(row["alias"], row["snapshotID"], row["snapshotID"]) for row in rows])


def _nodes(client: Client) -> Names:
    rows = client.get("backends")
    return unique([(row["name"], row["persistentID"], row["persistentID"]) for row in rows])


def _hosts(client: Client) -> Names:
    rows = client.pages("hosts", key="uuid", limit=AT_MOST)
    return unique([(row["name"], row["uuid"], row["uuid"]) for row in rows])


def _tenants(client: Client) -> Names:
    return [(row["tenantId"], row["name"]) for row in client.get("tenants")]


def _tasks(client: Client) -> Names:
    return [(row["taskId"], f"{row['type']} {row['state']}") for row in client.get("tasks")]


def contexts(incomplete: str) -> list[str]:
    """Return the names of contexts in the configuration file."""
    try:
        return [name for name in load(config_path()).contexts if name.startswith(incomplete)]
    except Failure:
        return []


VOLUME = Name("volume", _volumes)
SNAPSHOT = Name("snapshot", _snapshots)
NODE = Name("node", _nodes)
HOST = Name("host", _hosts)
TENANT = Name("tenant", _tenants)
TASK = Name("task", _tasks)
