"""Creates the rows of a typical pool: 20 nodes, 300 volumes, and some problems."""

import datetime as dt
import random
import uuid
from dataclasses import dataclass, field

from django.utils import timezone

from events.kinds import Severity
from events.models import Event
from inventory.models import (
    Backend,
    BackendAddress,
    Host,
    InventorySample,
    License,
    Pool,
    Portal,
    Ssd,
)
from provisioner.common.models import LifeState
from tasks.models import Task, TaskState, TaskType
from volumes.models import (
    Drain,
    Export,
    Publication,
    Replica,
    ReplicaState,
    Snapshot,
    SubVolume,
    Tenant,
    Volume,
    target_nqn,
)

GIB = 1024**3
TIB = 1024 * GIB
NODES = 20
VOLUMES = 300
SSDS = 6
DEAD, DRAINING, CORDONED = 3, 11, 17
REGIONS = ("eu-central", "eu-west")
ALIASES = ("postgres", "kafka", "registry", "grafana", "etcd", "mail", "minio", "gitlab")


@dataclass
class PoolRows:
    """The rows that :func:`make_pool` created."""

    nodes: list[Backend] = field(default_factory=list)
    volumes: list[Volume] = field(default_factory=list)
    hosts: list[Host] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)


def make_pool() -> PoolRows:
    """Create the pool. The numbers are the same each time; times are relative to now."""
    dice, now, made = random.Random(7), timezone.now(), PoolRows()
    License.objects.update_or_create(defaults={"type": "PRODUCTION", "max_backends": 24})
    Pool.objects.get_or_create(defaults={"name": "frankfurt"})
    tenants = [_tenant(number) for number in range(4)]
    made.nodes = [_node(number, now) for number in range(NODES)]
    made.hosts = [_host(number, now) for number in range(24)]
    for number in range(VOLUMES):
        made.volumes.append(_volume(number, made, tenants, dice, now))
    for node in made.nodes:
        for ssd in node.ssds.all():
            used = sum(piece.claimed_bytes for piece in ssd.sub_volumes.all())
            Ssd.objects.filter(pk=ssd.pk).update(used_bytes=min(used, ssd.capacity_bytes))
    for tenant in tenants:
        used = sum(r.claimed_bytes for r in Replica.objects.filter(volume__tenant=tenant))
        Tenant.objects.filter(pk=tenant.pk).update(used_bytes=used)
    Drain.objects.create(
        backend=made.nodes[DRAINING], was_in_use=True, replicas_before=52,
        started_at=now - dt.timedelta(minutes=42),
    )  # fmt: skip
    made.tasks = _tasks(made, now)
    made.snapshots = _snapshots(made, now)
    _samples(now)
    _events(made, now)
    return made


def _tenant(number: int) -> Tenant:
    names = ("databases", "platform", "analytics", "sandbox")
    limits = (120 * TIB, 100 * TIB, 90 * TIB, 0)
    return Tenant.objects.create(
        tenant_id=f"tenant-{number}", name=names[number], capacity_bytes=limits[number]
    )


def _node(number: int, now: dt.datetime) -> Backend:
    dead = number == DEAD
    heard = now - dt.timedelta(minutes=18 if dead else 0, seconds=9)
    node = Backend.objects.create(
        persistent_id=f"0c:42:a1:{number:02x}:7f:10",
        name=f"nvme-{number:02}",
        region=REGIONS[number // 10],
        zone=f"{REGIONS[number // 10]}-{'ab'[number // 5 % 2]}",
        rack=f"r{number // 5 * 3 + number % 5 // 2 + 1:02}",
        version="3.22",
        target_driver_version="24.09",
        authentication_mode="LOCAL",
        in_use=number not in (CORDONED, DRAINING),
        total_iops=2_000_000,
        used_iops=80_000 * (number % 7),
        total_bw=24 * GIB,
        used_bw=(number % 9) * GIB,
        probe_interval=60,
        last_probe_at=heard,
        available_until=now + dt.timedelta(hours=-1 if dead else 8),
        unanswered_since=heard if dead else None,
        call_error="connect timeout after 3 s" if dead else "",
        boot_id="b",
        refreshed_at=heard,
        polled_at=now,
        token_expires_at=now + dt.timedelta(days=30),
        controller_slot=number + 1,
    )
    BackendAddress.objects.create(backend=node, position=0, address=f"10.20.0.{number}", port=443)
    Portal.objects.create(backend=node, ip=f"10.30.0.{number}", port=4420, transport="TCP")
    Ssd.objects.bulk_create(
        Ssd(
            backend=node,
            ssd_id=f"CM7-{number:02}{slot}",
            name=f"nvme{slot}n1",
            capacity_bytes=8 * TIB,
        )
        for slot in range(SSDS)
    )
    return node


def _host(number: int, now: dt.datetime) -> Host:
    silent = number == 5
    return Host.objects.create(
        uuid=str(uuid.UUID(int=number + 1)),
        name=f"compute-{number:02}",
        nqn=f"nqn.2014-08.org.nvmexpress:uuid:{uuid.UUID(int=number + 1)}",
        client_type="Kubernetes" if number % 2 else "Openstack",
        version="3.22",
        duration=20,
        multipath=True,
        last_probe_at=now - dt.timedelta(minutes=11 if silent else 0),
        available_until=now + dt.timedelta(hours=-1 if silent else 8),
        agent_until=now + dt.timedelta(hours=8) if number % 2 else None,
    )


def _volume(
    number: int, made: PoolRows, tenants: list[Tenant], dice: random.Random, now: dt.datetime
) -> Volume:
    copies = 1 if number % 5 == 0 else 2
    capacity = dice.choice((50, 100, 250, 500, 1000, 2000)) * GIB
    creating = number == 299
    state = LifeState.CREATING if creating else LifeState.READY
    deadline = now + dt.timedelta(minutes=2) if creating else None
    volume = Volume.objects.create(
        uuid=str(uuid.UUID(int=1000 + number)),
        tenant=tenants[number % 4],
        alias=f"{ALIASES[number % 8]}-{number // 8:02}",
        capacity_bytes=capacity,
        provisioning_type="THICK",
        claimed_bytes=capacity,
        num_replicas=copies,
        protocol="NVMEoF",
        block_size=4096,
        desired_iops_per_gb=10,
        state=state,
        deadline_at=deadline,
        created_at=now - dt.timedelta(hours=number),
    )
    host = made.hosts[number % len(made.hosts)]
    published = number % 3 != 0 and not creating
    publication = (
        Publication.objects.create(volume=volume, host=host, state=LifeState.READY)
        if (published)
        else None
    )
    first = dice.randrange(NODES)
    for copy in range(copies):
        node = made.nodes[(first + copy * 7) % NODES]
        replica = Replica.objects.create(
            uuid=volume.uuid if copies == 1 else str(uuid.UUID(int=10_000 + number * 3 + copy)),
            volume=volume,
            backend=node,
            claimed_bytes=capacity,
            replica_state=ReplicaState.AVAILABLE if copies > 1 else ReplicaState.UNKNOWN,
            state=state,
            deadline_at=deadline,
        )
        SubVolume.objects.create(
            replica=replica,
            ssd=node.ssds.all()[number % SSDS],
            capacity_bytes=capacity,
            claimed_bytes=capacity,
        )
        if publication is not None:
            Export.objects.create(
                publication=publication,
                replica=replica,
                target_nqn=target_nqn(host.uuid),
                nsid=number + 1,
                host_nqn=host.nqn,
                state=LifeState.READY,
            )
    return volume


def _tasks(made: PoolRows, now: dt.datetime) -> list[Task]:
    shown = [
        (TaskType.REPLICA_SYNC, TaskState.RUNNING, 12, 64.0, ""),
        (TaskType.REPLICA_SYNC, TaskState.RUNNING, 31, 18.0, ""),
        (TaskType.REMOTE_MIGRATION, TaskState.RUNNING, 44, 5.0, ""),
        (TaskType.REMOTE_MIGRATION, TaskState.FAILED, 52, 37.0, "no node with enough space"),
        (TaskType.REPLICA_SYNC, TaskState.FINISHED, 63, 100.0, ""),
    ]
    tasks = []
    for kind, state, number, percent, text in shown:
        volume = made.volumes[number]
        ended = state in {TaskState.FAILED, TaskState.FINISHED}
        copies = kind == TaskType.REPLICA_SYNC
        tasks.append(
            Task.objects.create(
                task_id=str(uuid.UUID(int=500_000 + number)),
                type=kind,
                state=state,
                volume_id=volume.uuid,
                tenant_id=volume.tenant_id,
                progress=percent,
                description=text,
                task_status="NoCandidate" if state == TaskState.FAILED else "",
                bytes_done=int(volume.capacity_bytes * percent / 100) if copies else None,
                bytes_total=volume.capacity_bytes if copies else None,
                bytes_per_second=900 * 1024**2 if copies and not ended else None,
                started_at=now - dt.timedelta(minutes=6),
                created_at=now - dt.timedelta(minutes=6 + number),
                ended_at=now - dt.timedelta(minutes=number) if ended else None,
                lease_owner="" if ended else "worker",
                lease_until=None if ended else now + dt.timedelta(hours=1),
            )
        )
    return tasks


def _snapshots(made: PoolRows, now: dt.datetime) -> list[Snapshot]:
    taken = []
    for volume in made.volumes[:200:10]:
        replica = volume.replicas.all()[0]
        snapshot = Snapshot.objects.create(
            uuid=str(uuid.UUID(int=900_000 + volume.pk)),
            tenant_id=volume.tenant_id,
            alias=f"{volume.alias}-nightly",
            volume=volume,
            replica=replica,
            capacity_bytes=volume.capacity_bytes,
            claimed_bytes=volume.capacity_bytes // 10,
            state=LifeState.READY,
            created_at=now - dt.timedelta(hours=7),
        )
        taken.append(snapshot)
    return taken


def _samples(now: dt.datetime) -> None:
    """Create samples of the inventory, one for each of 48 hours. In each hour, one TiB was
    reserved.
    """
    for hours in range(48, 0, -1):
        InventorySample.objects.create(
            backends=[],
            taken_at=now - dt.timedelta(hours=hours),
            capacity_bytes=960 * TIB,
            used_bytes=(310 - hours) * TIB,
        )


def _events(made: PoolRows, now: dt.datetime) -> None:
    """Record the events of the last hour, the oldest first."""
    dead, drained = made.nodes[DEAD], made.nodes[DRAINING]
    volume, failed = made.volumes[12], made.tasks[3]
    told = (
        (55, "TaskFailed", Severity.ERROR, f"Task {failed.type} is FAILED: {failed.description}"),
        (
            42,
            "DrainStarted",
            Severity.INFO,
            f"Drain of node {drained.name} began.",
        ),
        (18, "BackendUnavailable", Severity.ERROR, f"Node {dead.name} is Unavailable: no answer"),
        (17, "ReplicaMissing", Severity.ERROR, f"Replica of {volume.alias} is Missing."),
        (9, "VolumeExpanded", Severity.INFO, f"Volume {volume.alias} was expanded to 100 GiB."),
        (2, "VolumeCreated", Severity.INFO, f"Volume {made.volumes[298].alias} was created."),
    )
    for minutes, kind, severity, text in told:
        Event.objects.create(
            at=now - dt.timedelta(minutes=minutes),
            kind=kind,
            severity=severity,
            text=text,
            actor_type=Event.Actor.CALLER,
            actor="operator",
            subjects=[f"volume:{volume.uuid}"],
        )
