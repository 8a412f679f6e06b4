"""Actions on storage nodes and hosts."""

from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings

from inventory.models import Backend, Host
from inventory.selectors import license_current
from provisioner.common.display import size
from provisioner.console.actions.action import Action, Facts, Field, Table
from volumes.models import Drain, Replica
from volumes.services.node.drain_preview import PlannedMove, drain_preview
from volumes.services.node.maintenance import backend_maintenance

MOST_SHOWN = 20


def _license(_: object) -> Facts:
    current, nodes = license_current(), Backend.objects.count()
    allowed = f" of {current.max_backends}" if current.max_backends is not None else ""
    return Facts([f"Nodes of the licence in use: {nodes}{allowed}."])


def _is_drained(node: Backend) -> bool:
    return Drain.objects.filter(pk=node.pk).exists()


def _content_text(node: Backend) -> str:
    replicas = Replica.objects.filter(backend=node.pk)
    claimed = sum(replicas.values_list("claimed_bytes", flat=True))
    number = len(replicas)
    return f"It holds {number} replica{'' if number == 1 else 's'}, {size(claimed)} in all."


def _uncordons(node: Backend) -> Facts:
    return Facts(["The node is being drained: the drain ends."] if _is_drained(node) else [])


def _affected_volumes(node: Backend) -> Table:
    """A table of the volumes that would lose access or redundancy if the node stopped now."""
    found = backend_maintenance(persistent_id=node.pk)
    losing: Iterable[Any] = found.replicas[:MOST_SHOWN]
    rows: list[tuple[object, ...]] = [(row.volume.alias, row.loses) for row in losing]
    note = (
        "No volume would lose access or redundancy."
        if found.safe
        else f"{found.access} would lose access, {found.redundancy} redundancy."
        + _truncation_note(found.access + found.redundancy)
    )
    return Table(
        "Volumes that lose access or redundancy if the node stops now",
        ("volume", "loses"),
        rows,
        note,
    )


def _truncation_note(number: int) -> str:
    return f" The first {MOST_SHOWN} are shown." if number > MOST_SHOWN else ""


def _move_tables(node: Backend) -> list[Table]:
    """Tables of the replicas that would move, with their destinations, and of those that cannot
    move.
    """
    planned = drain_preview(persistent_id=node.pk, most=MOST_SHOWN)
    names = dict(Backend.objects.values_list("pk", "name"))
    number = Replica.objects.filter(backend=node.pk).count()
    tables = [
        _move_table("Moves", "to", planned, lambda move: names.get(move.destination, "")),
        _move_table("Cannot move now", "reason", planned, lambda move: move.refusal),
    ]
    shown = [table for table in tables if table.rows]
    if number > MOST_SHOWN:
        note = f"The first {MOST_SHOWN} of {number} replicas are shown."
        shown.append(Table("More", (), [], note))
    return shown


def _move_table(
    title: str, column: str, planned: list[PlannedMove], value: Callable[[PlannedMove], str]
) -> Table:
    rows: list[tuple[object, ...]] = [
        (move.replica.volume.alias, size(move.replica.claimed_bytes), value(move))
        for move in planned
        if value(move)
    ]
    return Table(title, ("volume", "size", column), rows)


def _drain_facts(node: Backend) -> Facts:
    at_once = settings.ENVIRONMENT.drain_parallel
    return Facts(
        [f"{_content_text(node)} At most {at_once} move at once."],
        [*_move_tables(node), _affected_volumes(node)],
    )


def _removal_facts(node: Backend) -> Facts:
    return Facts([_content_text(node)], [_affected_volumes(node)])


ADD = Action(
    "add_node",
    Backend,
    "Add node",
    "add",
    "POST",
    "/backends",
    says="Connects to the node, reads its drives and portals, and adds it to the pool. New "
    "volumes may be placed on it at once. It counts as one node of the licence.",
    done="Node {persistentID} is in the pool.",
    facts=_license,
    fields=(
        Field("mgmtIPs", "Management addresses", "IP addresses or DNS names, separated by commas"),
        Field("mgmtPort", "Port", initial=lambda _: 443),
        Field("region", "Region"),
        Field("zone", "Zone"),
        Field("rack", "Rack", "replicas of a volume are placed in different racks"),
        Field("hostId", "Host id", "host in which the node runs, for Local volumes"),
        Field(
            "nodeToken",
            "Token",
            "token of this node only, if it does not use mutual TLS",
            secret=True,
        ),
        Field(
            "takeOver",
            "Take over",
            "adds the node even if it belongs to another pool, or holds volumes of another pool",
        ),
    ),
    of_list=True,
    opens=(Backend, "persistentID", "pk"),
)

CORDON = Action(
    "cordon",
    Backend,
    "Cordon",
    "block",
    "PUT",
    "/backends/{pk}",
    says="No new replica is placed on the node. Volumes on it stay usable.",
    done="Node {row.name} is cordoned.",
    body=lambda _: {"inUse": False},
    applies_to=lambda node: bool(node.in_use),
)

UNCORDON = Action(
    "uncordon",
    Backend,
    "Uncordon",
    "check_circle",
    "PUT",
    "/backends/{pk}",
    says="New volumes may be placed on the node again.",
    done="Node {row.name} is in use.",
    facts=_uncordons,
    body=lambda _: {"inUse": True},
    applies_to=lambda node: not node.in_use,
)

DRAIN = Action(
    "drain",
    Backend,
    "Drain",
    "output",
    "POST",
    "/backends/{pk}/drain",
    says="Cordons the node and moves its replicas to other nodes, a few at a time. Each move "
    "copies the whole replica, which uses throughput of two nodes. Replicas that cannot move "
    "stay, and are tried again. The drain continues until it is stopped.",
    done="Node {row.name} is being drained.",
    facts=_drain_facts,
    applies_to=lambda node: not _is_drained(node),
)

STOP_DRAIN = Action(
    "stop_drain",
    Backend,
    "Stop drain",
    "stop_circle",
    "DELETE",
    "/backends/{pk}/drain",
    says="Starts no more relocations, and undoes relocations that can still be stopped. Replicas "
    "that have moved stay on their new nodes. Afterwards the node is cordoned only if it was "
    "cordoned before the drain.",
    done="The drain of node {row.name} is stopped.",
    applies_to=_is_drained,
)

REMOVE = Action(
    "remove_node",
    Backend,
    "Remove",
    "delete",
    "DELETE",
    "/backends/{pk}",
    says="Removes the node from the pool. This is refused while it holds replicas: drain it first.",
    done="Node {row.name} is removed.",
    facts=_removal_facts,
    fields=(
        Field(
            "force",
            "Remove even if it holds replicas",
            "only for an Unavailable node: its replicas become Missing, and volumes without "
            "another replica become unusable",
        ),
    ),
    destroys=True,
)

REMOVE_HOST = Action(
    "remove_host",
    Host,
    "Remove",
    "delete",
    "DELETE",
    "/hosts/{pk}",
    says="Removes a host that no longer reports, and unpublishes its volumes. If the host reports "
    "again, it is added again, without volumes.",
    done="Host {row.name} is removed.",
    destroys=True,
)

ACTIONS: list[Action] = [ADD, CORDON, UNCORDON, DRAIN, STOP_DRAIN, REMOVE, REMOVE_HOST]
GROUPS: dict[Any, list[Any]] = {
    Backend: ["cordon", "uncordon", "drain", "stop_drain", "remove_node"],
    Host: ["remove_host"],
}
