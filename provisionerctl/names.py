"""Finds objects by the names that people use: alias or uuid, or name or id of a node or host."""

import re
from collections.abc import Callable

from provisionerctl.client import Body, Client
from provisionerctl.errors import Exit, Failure, Refused

IDENTIFIER = re.compile(r"[A-Za-z0-9._:-]{1,64}")
ALIAS = re.compile(r"[A-Za-z0-9._-]{1,255}")
"""The API refuses other texts as ids and aliases, so that it is not asked for them."""


def volume(client: Client, name: str) -> Body:
    """Return the volume with this uuid or alias.

    :raises Failure: there is none, or several have this uuid or alias.
    """
    rows = _by_id(client, "volumes", name) + _by_alias(client, "volumes_by_alias", name)
    return _only(rows, "volume", name, "uuid")


def volume_extended(client: Client, uuid: str) -> Body:
    """Return a volume with its hosts and SSDs.

    :raises Failure: there is none.
    """
    return _only(client.get("volume_extended", uuid), "volume", uuid, "uuid")


def snapshot(client: Client, name: str) -> Body:
    """Return the snapshot with this uuid or alias.

    :raises Failure: there is none, or several have this uuid or alias.
    """
    rows = _by_id(client, "snapshots", name) + _by_alias(client, "snapshots_by_alias", name)
    return _only(rows, "snapshot", name, "snapshotID")


def node(client: Client, name: str) -> Body:
    """Return the node with this persistent id, or else with this name.

    :raises Failure: there is none, or several have this name.
    """
    rows = _by_id(client, "backends", name)
    rows = rows or [row for row in client.get("backends") if row.get("name") == name]
    return _only(rows, "node", name, "persistentID")


def node_id(client: Client, name: str) -> str:
    """Return the persistent id of the node with this persistent id or name.

    :raises Failure: there is none, or several have this name.
    """
    return str(node(client, name)["persistentID"])


def node_names(client: Client) -> dict[str, str]:
    """Return the names of all nodes, by persistent id."""
    return {row["persistentID"]: row.get("name", "") for row in client.get("backends")}


def host(client: Client, name: str) -> str:
    """Return the id of the host with this id, or else with this name.

    Hosts choose their names themselves, so a name that equals the id of another host is ignored.
    Callers that may not see the list of hosts must give an id.

    :raises Failure: there is none, or several have this name.
    """
    try:
        found = client.get("hosts", hostId=name) if IDENTIFIER.fullmatch(name) else []
        rows = [row for row in found if row["uuid"] == name]
        rows = rows or client.get("hosts", hostName=name)
    except Refused as error:
        if error.exit_code != Exit.DENIED:
            raise
        return name
    return str(_only(rows, "host", name, "uuid")["uuid"])


def known_or_new(find: Callable[[Client, str], str], client: Client, name: str) -> str:
    """Return the id that ``find`` returns. An unknown text is the id of an object that the pool
    does not know yet.

    :raises Failure: several objects have this name.
    """
    try:
        return find(client, name)
    except Failure as error:
        if error.exit_code != Exit.NOT_FOUND:
            raise
        return name


def tenant(client: Client, identifier: str) -> Body:
    """Return the tenant with this id.

    :raises Failure: there is none.
    """
    rows = [row for row in client.get("tenants") if row["tenantId"] == identifier]
    return _only(rows, "tenant", identifier, "tenantId")


def task(client: Client, identifier: str) -> Body:
    """Return the task with this id.

    :raises Failure: there is none.
    """
    return _only(client.get("tasks", taskId=identifier), "task", identifier, "taskId")


def _by_id(client: Client, path: str, name: str) -> list[Body]:
    found = client.one(path, name) if IDENTIFIER.fullmatch(name) else None
    return [found] if found else []


def _by_alias(client: Client, path: str, name: str) -> list[Body]:
    return list(client.get(path, name)) if ALIAS.fullmatch(name) else []


def _only(found: list[Body], kind: str, name: str, key: str) -> Body:
    rows = list({row[key]: row for row in found}.values())
    if not rows:
        raise Failure(f"There is no {kind} {name!r}.", Exit.NOT_FOUND)
    if len(rows) > 1:
        tenants = {row["tenantId"] for row in rows if "tenantId" in row}
        hint = "name its tenant with --tenant, or " if len(tenants) > 1 else ""
        ids = ", ".join(str(row[key]) for row in rows)
        raise Failure(
            f"{len(rows)} objects have the name {name!r}: {hint}give one of {ids}.", Exit.USAGE
        )
    return rows[0]
