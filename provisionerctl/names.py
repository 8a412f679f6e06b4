"""Finds objects by the names that people use: alias or uuid, or the name or persistent id of a
node.
"""

from provisionerctl.client import Body, Client
from provisionerctl.errors import Exit, Failure, Refused


def volume(client: Client, name: str) -> Body:
    """Return the volume with this uuid or alias.

    :raises Failure: there is none, or several have this alias.
    """
    if found := client.one("volumes", name):
        return found
    return _only(client.get("volumes_by_alias", name), "volume", name, "uuid")


def snapshot(client: Client, name: str) -> Body:
    """Return the snapshot with this uuid or alias.

    :raises Failure: there is none, or several have this alias.
    """
    if found := client.one("snapshots", name):
        return found
    return _only(client.get("snapshots_by_alias", name), "snapshot", name, "snapshotID")


def node(client: Client, name: str) -> Body:
    """Return the node with this persistent id or name.

    :raises Failure: there is none, or several have this name.
    """
    if found := client.one("backends", name):
        return found
    rows = [row for row in client.get("backends") if row.get("name") == name]
    return _only(rows, "node", name, "persistentID")


def node_names(client: Client) -> dict[str, str]:
    """Return the names of all nodes, by persistent id."""
    return {row["persistentID"]: row.get("name", "") for row in client.get("backends")}


def host(client: Client, name: str) -> str:
    """Return the id of the host with this id or name.

    An unknown text is assumed to be an id, because callers that may publish volumes may not always
    see the list of hosts.

    :raises Failure: several hosts have this name.
    """
    try:
        rows = client.get("hosts", hostName=name)
    except Refused as error:
        if error.exit_code != Exit.DENIED:
            raise
        rows = []
    return str(_only(rows, "host", name, "uuid")["uuid"]) if rows else name


def task(client: Client, identifier: str) -> Body:
    """Return the task with this id.

    :raises Failure: there is none.
    """
    return _only(client.get("tasks", taskId=identifier), "task", identifier, "taskId")


def _only(rows: list[Body], kind: str, name: str, key: str) -> Body:
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
