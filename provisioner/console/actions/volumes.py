"""Actions on volumes and snapshots."""

from collections.abc import Mapping
from typing import Any

from inventory.models import Backend
from inventory.selectors import host_list
from provisioner.access.principals import Caller
from provisioner.common.display import NONE, size
from provisioner.common.models import LifeState
from provisioner.console.actions.action import (
    MOST_SUGGESTED,
    Action,
    Choices,
    Facts,
    Field,
    Table,
)
from tasks.models import Task
from volumes.models import DEFAULT_TENANT, Protocol, ProvisioningType, Snapshot, Volume
from volumes.selectors import tenants_visible

ALIAS_RULE = "1 to 255 characters of A-Z a-z 0-9 . _ -"


def tenant_choices(_: object, caller: Caller) -> Choices:
    rows = tenants_visible(caller.tenant_id)[:MOST_SUGGESTED]
    return [(tenant.pk, tenant.name) for tenant in rows]


def _hosts(_: object, caller: Caller) -> Choices:
    rows = host_list(tenant_id=caller.tenant_id).order_by("name")
    return [(host.pk, host.name) for host in rows[:MOST_SUGGESTED]]


def _published_hosts(volume: Volume, _: Caller) -> Choices:
    rows = volume.publications.select_related("host")[:MOST_SUGGESTED]
    return [(row.host_id, row.host.name) for row in rows]


def _host_names(volume: Volume) -> str:
    return ", ".join(volume.publications.values_list("host__name", flat=True)[:MOST_SUGGESTED])


def _replicas(volume: Volume, _: Caller) -> Choices:
    rows = volume.replicas.select_related("backend")
    return [
        (row.uuid, f"{row.uuid} on {row.backend.name if row.backend else NONE}") for row in rows
    ]


def _nodes(_: object, __: Caller) -> Choices:
    return [(pk, name) for pk, name in Backend.objects.order_by("name").values_list("pk", "name")]


def _capacity(volume: Volume) -> Facts:
    now, replicas = size(volume.capacity_bytes), volume.replicas.count()
    return Facts([f"It has {now} now, on {replicas} replica{'' if replicas == 1 else 's'}."])


def _removal_facts(volume: Volume) -> Facts:
    """Facts about a volume before its removal. Publications and snapshots must be removed first."""
    sentences = []
    if hosts := _host_names(volume):
        sentences.append(f"It is published to {hosts}: unpublish it first.")
    if number := volume.snapshots.count():
        sentences.append(
            f"It has {number} snapshot{'' if number == 1 else 's'}: delete them first."
        )
    return Facts([*_capacity(volume).sentences, *sentences])


def _is_ready(row: Volume | Snapshot) -> bool:
    """Whether the API shows the row. Rows that are being deleted are on their pages too, and a
    newer object may have the same uuid.
    """
    return row.state == LifeState.READY


def _published(volume: Volume) -> Facts:
    return Facts([f"It is published to {_host_names(volume) or 'no host'}."])


def _plan_facts(answer: Mapping[str, Any]) -> Facts:
    """The result of a dry run of a create: the chosen nodes, and the refused nodes with the
    reasons.
    """
    names = dict(Backend.objects.values_list("pk", "name"))
    chosen: list[tuple[object, ...]] = [
        (
            names.get(one["backend"]["persistentID"], NONE),
            ", ".join(f"{p['ssdID']}: {size(p['reservedSpace'])}" for p in one["subVolumes"]),
        )
        for one in answer["chosen"]
    ]
    refused: list[tuple[object, ...]] = [
        (names.get(one["backend"]["persistentID"], NONE), one["filter"], one["reason"])
        for one in answer["refused"]
    ]
    return Facts(
        ["This is a dry run: nothing has been created.", answer["explanation"]],
        [
            Table("Chosen nodes", ("node", "drives"), chosen, "" if chosen else "None."),
            Table(
                "Refused nodes", ("node", "filter", "reason"), refused, "" if refused else "None."
            ),
        ],
    )


CREATE = Action(
    "create_volume",
    Volume,
    "Create volume",
    "add",
    "POST",
    "/volumes",
    says="Creates an empty volume on the most suitable nodes. Each replica claims its capacity, "
    "or for Thin volumes its reserved space, on drives and in the budget of the tenant. The "
    "dry run shows the nodes and creates nothing.",
    done="Volume {alias} is created.",
    fields=(
        Field("alias", "Alias", ALIAS_RULE),
        Field("capacity", "Capacity", "GiB"),
        Field(
            "tenantId",
            "Tenant",
            initial=lambda _: DEFAULT_TENANT,
            choices=tenant_choices,
            suggests=True,
        ),
        Field("storageClass.numReplicas", "Replicas", "1 to 3", initial=lambda _: 1),
        Field("provisioningType", "Provisioning", initial=lambda _: ProvisioningType.THICK),
        Field("reservedSpacePercentage", "Reserved space", "percent of the capacity, if Thin"),
        Field("protocol", "Protocol", initial=lambda _: Protocol.NVMEOF),
        Field("storageClass.regions", "Regions", "separated by commas; empty: any"),
        Field("storageClass.zones", "Zones", "separated by commas; empty: any"),
        Field("storageClass.racks", "Racks", "separated by commas; empty: any"),
        Field("storageClass.sameRackAllowed", "Several replicas may be in one rack"),
        Field("storageClass.allowSpan", "A replica may span several drives"),
        Field("storageClass.hostId", "Host id", "of the node on which a Local volume must be"),
        Field("storageClass.blockSize", "Block size", "bytes", initial=lambda _: 4096),
        Field("storageClass.maxIOPSPerGB", "Most IOPS", "per GiB; empty: no limit"),
        Field("storageClass.desiredIOPSPerGB", "Reserved IOPS", "per GiB"),
        Field("storageClass.maxBWPerGB", "Most bandwidth", "bytes per second and GiB"),
        Field("storageClass.desiredBWPerGB", "Reserved bandwidth", "bytes per second and GiB"),
    ),
    of_list=True,
    opens=(Volume, "uuid", "uuid"),
    dry_run=_plan_facts,
)

EXPAND = Action(
    "expand",
    Volume,
    "Expand",
    "expand",
    "PATCH",
    "/volumes/{uuid}",
    says="Expands all replicas. Each replica claims the additional capacity on its drives and in "
    "the budget of the tenant. A volume cannot be made smaller again.",
    done="Volume {row.alias} has {newCapacity} GiB.",
    applies_to=_is_ready,
    facts=_capacity,
    fields=(Field("newCapacity", "New capacity", "GiB"),),
)

SNAPSHOT = Action(
    "snapshot",
    Volume,
    "Snapshot",
    "photo_camera",
    "POST",
    "/snapshots",
    says="Creates a snapshot with the present content of the volume, which must have one replica. "
    "The snapshot claims its reserved space at once, on the same drives, and the volume "
    "cannot be moved or deleted while it has snapshots.",
    done="Snapshot {alias} is created.",
    applies_to=_is_ready,
    facts=_capacity,
    body=lambda volume: {"volumeID": volume.uuid},
    fields=(
        Field("alias", "Alias of the snapshot", ALIAS_RULE),
        Field("reservedSpacePercentage", "Reserved space", "percent of the capacity"),
    ),
    opens=(Snapshot, "persistentId", "uuid"),
)

CLONE = Action(
    "clone",
    Volume,
    "Clone",
    "content_copy",
    "POST",
    "/clone_volume",
    says="Creates a Thin volume with the present content of this one, which must have one "
    "replica, on the same drives. The clone claims its reserved space at once, and uses more "
    "space when hosts write to it.",
    done="Clone {alias} is created.",
    applies_to=_is_ready,
    facts=_capacity,
    body=lambda volume: {"sourceVolumeId": volume.uuid},
    fields=(
        Field("alias", "Alias of the clone", ALIAS_RULE),
        Field("capacity", "Capacity", "GiB; empty: the capacity of the volume"),
        Field("reservedSpacePercentage", "Reserved space", "percent of the capacity"),
    ),
    opens=(Volume, "persistentId", "uuid"),
)

PUBLISH = Action(
    "publish",
    Volume,
    "Publish",
    "share",
    "POST",
    "/publish",
    says="Exports each replica to a host, which can then read and write the volume.",
    done="Volume {row.alias} is published to host {hostId}.",
    applies_to=_is_ready,
    facts=_published,
    body=lambda volume: {"volId": volume.uuid},
    fields=(Field("hostId", "Host", choices=_hosts, suggests=True),),
)

UNPUBLISH = Action(
    "unpublish",
    Volume,
    "Unpublish",
    "link_off",
    "POST",
    "/unpublish",
    says="Unpublishes the volume at once, even if it is mounted on the host: writes that the host "
    "has not finished are lost. Detach it on the host first.",
    done="Volume {row.alias} is unpublished.",
    applies_to=_is_ready,
    facts=_published,
    body=lambda volume: {"volId": volume.uuid},
    fields=(Field("hostId", "Host", "empty: all hosts", choices=_published_hosts, suggests=True),),
    destroys=True,
)

MIGRATE = Action(
    "migrate",
    Volume,
    "Migrate",
    "move_up",
    "POST",
    "/migrate_volume",
    says="Moves one replica of a published volume with several replicas to another node. The "
    "whole replica is copied: by the agent of the host if it has one, or by the nodes. Until "
    "the migration ends, the replica uses space on both nodes.",
    done="Volume {row.alias} is being migrated by this task.",
    applies_to=_is_ready,
    body=lambda volume: {"volId": volume.uuid},
    fields=(
        Field(
            "repId",
            "Replica",
            "empty: a replica on a cordoned node, otherwise the oldest",
            choices=_replicas,
        ),
        Field("destinationBackendId", "To node", "empty: placement chooses", choices=_nodes),
        Field("migrationHandler", "Done by", "empty: the agent of the host if it has one"),
    ),
    opens=(Task, "taskId", "task_id"),
)

DELETE = Action(
    "delete_volume",
    Volume,
    "Delete",
    "delete",
    "DELETE",
    "/volumes/{uuid}",
    says="Deletes the volume and its data on all nodes. This cannot be undone.",
    done="Volume {row.alias} is deleted.",
    applies_to=_is_ready,
    facts=_removal_facts,
    destroys=True,
)

SNAPSHOT_VOLUME = Action(
    "snapshot_volume",
    Snapshot,
    "Create volume",
    "add",
    "POST",
    "/snapshot_volumes",
    says="Creates the volume through which hosts use this snapshot, on its node and drives. A "
    "snapshot has at most one such volume. A volume that is not writable reserves no space.",
    done="Volume {alias} is created.",
    applies_to=_is_ready,
    facts=lambda snapshot: Facts([f"The snapshot has {size(snapshot.capacity_bytes)}."]),
    body=lambda snapshot: {"snapshotID": snapshot.uuid},
    fields=(
        Field("alias", "Alias of the volume", ALIAS_RULE),
        Field("writable", "Writable"),
        Field("reservedSpacePercentage", "Reserved space", "percent of the capacity, if writable"),
    ),
    opens=(Volume, "persistentId", "uuid"),
)

DELETE_SNAPSHOT = Action(
    "delete_snapshot",
    Snapshot,
    "Delete",
    "delete",
    "DELETE",
    "/snapshots/{uuid}",
    says="Deletes the snapshot and the data that only the snapshot contains. This cannot be "
    "undone. It is refused while the snapshot has a volume.",
    done="Snapshot {row.alias} is deleted.",
    applies_to=_is_ready,
    destroys=True,
)

ACTIONS = [
    CREATE,
    EXPAND,
    SNAPSHOT,
    CLONE,
    PUBLISH,
    UNPUBLISH,
    MIGRATE,
    DELETE,
    SNAPSHOT_VOLUME,
    DELETE_SNAPSHOT,
]
GROUPS: dict[Any, list[Any]] = {
    Volume: [
        "expand",
        "publish",
        {
            "title": "More",
            "icon": "more_horiz",
            "items": ["unpublish", "snapshot", "clone", "migrate"],
        },
        "delete_volume",
    ],
    Snapshot: ["snapshot_volume", "delete_snapshot"],
}
