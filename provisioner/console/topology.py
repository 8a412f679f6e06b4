"""The topology of the pool: regions, zones, racks, nodes and SSDs. It also shows the replicas of a
volume, or the effects if a node stops.
"""

from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from django.db.models import Count, Q, QuerySet

from inventory.health import node_health
from inventory.models import Backend, Ssd
from provisioner.common.display import tone
from provisioner.common.tenancy import of_tenant
from volumes.models import Replica, SubVolume, Volume
from volumes.selectors import VISIBLE
from volumes.services.node.maintenance import ACCESS, Maintenance, backend_maintenance

NOWHERE = "-"
AFFECTED_SHOWN = 20


@dataclass(frozen=True)
class Drive:
    """An SSD. ``mine``: the chosen volume has data on it."""

    name: str
    used_bytes: int
    capacity_bytes: int
    present: bool
    mine: bool

    @property
    def percent(self) -> float:
        return 100 * self.used_bytes / self.capacity_bytes if self.capacity_bytes else 0.0


@dataclass(frozen=True)
class NodeBox:
    """A node in the topology.

    ``replica_state``: the state of the chosen volume's replica on the node, or "". ``stops``: this
    is the node that is assumed to stop. ``survivors``: the number of remaining replicas on this
    node, of volumes that the stop affects.
    """

    node_id: str
    name: str
    health: str
    drives: list[Drive]
    replica_state: str
    stops: bool
    survivors: int

    @property
    def tone(self) -> str:
        return tone(self.health)

    @property
    def used_bytes(self) -> int:
        return sum(drive.used_bytes for drive in self.drives)

    @property
    def capacity_bytes(self) -> int:
        return sum(drive.capacity_bytes for drive in self.drives)


@dataclass(frozen=True)
class Place:
    """A region with zones, a zone with racks, or a rack with nodes."""

    name: str
    parts: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Loss:
    """A volume that the stop affects. ``access``: it would lose access, not only redundancy."""

    key: int
    alias: str
    access: bool


@dataclass(frozen=True)
class Topology:
    """The topology, with the result of the query. ``nodes``: the nodes that the user may choose to
    stop.
    """

    regions: list[Place]
    nodes: list[tuple[str, str]]
    volume: Volume | None
    stopped: str
    maintenance: Maintenance | None
    affected: list[Loss]


def topology_read(*, volume: str = "", node: str = "", tenant_id: str | None = None) -> Topology:
    """Read the topology, in at most nine queries.

    ``volume``: the uuid or alias of the volume whose replicas are marked. ``node``: the id of the
    node that is assumed to stop. Unknown names are ignored. ``tenant_id``: the tenant of the user,
    who sees only its volumes and no drives, and cannot choose a node. None: the user belongs to no
    tenant.
    """
    chosen = _volume(volume, tenant_id)
    nodes: list[Any] = list(
        Backend.objects.annotate(health=node_health()).order_by("region", "zone", "rack", "name")
    )
    is_asked = tenant_id is None and any(one.pk == node for one in nodes)
    stopped = node if is_asked else ""
    maintenance = backend_maintenance(persistent_id=stopped) if stopped else None
    survivors = _remaining_replicas(maintenance, stopped) if maintenance else {}
    states = _states(chosen)
    drives = _drives(chosen) if tenant_id is None else {}
    boxes = {
        one.pk: NodeBox(
            one.pk, one.name, one.health, drives.get(one.pk, []), states.get(one.pk, ""),
            one.pk == stopped, survivors.get(one.pk, 0),
        )
        for one in nodes
    }  # fmt: skip
    affected = _affected(maintenance) if maintenance else []
    names = sorted((one.name, one.pk) for one in nodes) if tenant_id is None else []
    regions = _places(nodes, boxes, ("region", "zone", "rack"))
    return Topology(regions, names, chosen, stopped, maintenance, affected)


def _volume(text: str, tenant_id: str | None) -> Volume | None:
    if not text or "\0" in text:
        return None
    named = Volume.objects.filter(Q(uuid=text.lower()) | Q(alias=text))
    return of_tenant(named, tenant_id).order_by("pk").first()


def _states(volume: Volume | None) -> dict[str | None, str]:
    rows = Replica.objects.filter(VISIBLE, volume=volume) if volume else Replica.objects.none()
    return dict(rows.values_list("backend_id", "replica_state"))


def _drives(volume: Volume | None) -> dict[str, list[Drive]]:
    sub_volumes = (
        SubVolume.objects.filter(replica__volume=volume) if volume else SubVolume.objects.none()
    )
    mine = set(sub_volumes.values_list("ssd_id", flat=True))
    found: dict[str, list[Drive]] = {}
    for ssd in Ssd.objects.order_by("backend", "name"):
        drive = Drive(ssd.name, ssd.used_bytes, ssd.capacity_bytes, ssd.present, ssd.pk in mine)
        found.setdefault(ssd.backend_id, []).append(drive)
    return found


def _remaining_replicas(maintenance: Maintenance, stopped: str) -> dict[str | None, int]:
    """Return, for each other node, the number of its replicas of affected volumes."""
    losing = maintenance.replicas.order_by().values("volume")
    others = Replica.objects.filter(VISIBLE, volume__in=losing).exclude(backend=stopped)
    return dict(others.order_by().values_list("backend").annotate(Count("pk")))


def _affected(maintenance: Maintenance) -> list[Loss]:
    losing: QuerySet[Any] = maintenance.replicas
    rows = losing.order_by("loses", "volume__alias")[:AFFECTED_SHOWN]
    return [Loss(row.volume_id, row.volume.alias, row.loses == ACCESS) for row in rows]


def _places(nodes: list[Any], boxes: dict[str, NodeBox], levels: tuple[str, ...]) -> list[Any]:
    if not levels:
        return [boxes[node.pk] for node in nodes]
    level, *rest = levels
    return [
        Place(name, _places(list(part), boxes, tuple(rest)))
        for name, part in groupby(nodes, lambda node: getattr(node, level) or NOWHERE)
    ]
