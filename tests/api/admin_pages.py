"""Creates rows of every model for the administration pages, and lists the pages."""

import datetime as dt

from django.contrib import admin
from django.urls import reverse
from django.utils import timezone

from events.kinds import Severity
from events.models import Event
from inventory.models import (
    Backend,
    Host,
    InventorySample,
    License,
    Recovery,
    ReleasedSlot,
    SyslogServer,
    SyslogSource,
)
from provisioner.access.models import AuthorizationServer, RevokedToken
from provisioner.common.admin import ReadOnlyAdmin
from provisioner.common.models import LifeState
from tasks.models import JobRun, Task, TaskState, TaskType
from volumes.models import (
    Drain,
    JobLease,
    NamespaceId,
    Protocol,
    ProvisioningType,
    Replica,
    ReplicaRelocation,
    Tenant,
    Volume,
    target_nqn,
)

GIB = 1024**3

MODELS = [model for model, page in admin.site._registry.items() if isinstance(page, ReadOnlyAdmin)]


def make_backend(number, now):
    backend = Backend.objects.create(
        persistent_id=f"aa:{number}",
        name=f"kumo-{number}",
        rack=f"r{number}",
        zone="z1",
        version="3.22",
        target_driver_version="1.0",
        authentication_mode="LOCAL",
        total_iops=1_000_000,
        used_iops=250_000 * (number % 4),
        total_bw=10 * GIB,
        used_bw=GIB,
        probe_interval=60,
        last_probe_at=now,
        available_until=now + dt.timedelta(minutes=3 if number % 3 else -3),
        boot_id="b",
        refreshed_at=now,
        token_expires_at=now + dt.timedelta(days=30),
        controller_slot=number + 1,
    )
    backend.addresses.create(position=0, address=f"10.0.0.{number}", port=443)
    backend.portals.create(ip=f"10.1.0.{number}", port=4420, transport="TCP")
    for slot in range(3):
        backend.ssds.create(
            ssd_id=f"S{number}{slot}",
            name=f"nvme{slot}",
            capacity_bytes=1024 * GIB,
            used_bytes=(number * 100 + slot * 40) % 1024 * GIB,
        )
    return backend


def make_volume(number, backends, tenant, host, now):
    state = list(LifeState)[number % 3]
    deadline = None if state is LifeState.READY else now + dt.timedelta(minutes=number - 5)
    volume = Volume.objects.create(
        uuid=f"volume-{number}",
        tenant=tenant,
        alias=f"database-{number}",
        capacity_bytes=(number + 1) * 10 * GIB,
        provisioning_type=ProvisioningType.THICK,
        claimed_bytes=(number + 1) * 10 * GIB,
        num_replicas=2,
        protocol=Protocol.NVMEOF,
        block_size=4096,
        state=state,
        deadline_at=deadline,
    )
    publication = volume.publications.create(host=host, state=state, deadline_at=deadline)
    for backend in backends[:2]:
        replica = volume.replicas.create(
            uuid=f"{volume.uuid}-{backend.pk}",
            backend=backend,
            claimed_bytes=volume.claimed_bytes,
            state=state,
            deadline_at=deadline,
        )
        replica.sub_volumes.create(
            ssd=backend.ssds.first(),
            capacity_bytes=volume.capacity_bytes,
            claimed_bytes=volume.claimed_bytes,
        )
        snapshot = replica.snapshots.create(
            uuid=f"snapshot-{replica.uuid}",
            tenant=tenant,
            alias=f"snapshot-{replica.uuid}",
            volume=volume,
            capacity_bytes=volume.capacity_bytes,
            claimed_bytes=volume.claimed_bytes,
            state=state,
            deadline_at=deadline,
        )
        snapshot.sub_volumes.create(
            ssd=backend.ssds.first(),
            capacity_bytes=volume.capacity_bytes,
            claimed_bytes=volume.claimed_bytes,
        )
        replica.exports.create(
            publication=None if state is LifeState.DELETING else publication,
            target_nqn=target_nqn(host.uuid),
            nsid=number + 1,
            host_nqn=host.nqn,
            state=state,
            deadline_at=deadline,
        )


def make_rows(count):
    """Create rows of every model: ``count`` rows of most models."""
    now = timezone.now()
    tenant, _ = Tenant.objects.get_or_create(
        tenant_id="t1",
        defaults={"name": "acme", "capacity_bytes": 4096 * GIB, "used_bytes": 512 * GIB},
    )
    there = Host.objects.count()
    new = [make_backend(number, now) for number in range(there, max(count, 2))]
    backends = new if len(new) > 1 else list(Backend.objects.all())
    AuthorizationServer.objects.get_or_create(token_url="https://oidc.test/token", public_key="k")
    SyslogSource.objects.get_or_create(defaults={"backend": backends[0]})
    License.objects.get_or_create()
    for number in range(there, count):
        InventorySample.objects.create(backends=[{"hardwareId": f"aa:{number}"}])
        Recovery.objects.create(after_generation=number, until_generation=2 * number)
        RevokedToken.objects.create(token_id=f"token-{number}", expires_at=now)
        Event.objects.create(
            kind="VolumeCreated",
            severity=Severity.INFO,
            text=f"row {number}",
            actor_type=Event.Actor.COMMAND,
            actor="test",
        )
        NamespaceId.objects.create(target_nqn="nqn", nsid=number + 1)
        ReleasedSlot.objects.create(persistent_id=f"released-{number}", controller_slot=number + 1)
        host = Host.objects.create(
            uuid=f"host-{number}",
            name=f"compute-{number}",
            nqn=f"nqn.2014-08.org.nvmexpress:{number}",
            client_type="Agent",
            version="3.22",
            duration=20,
            last_probe_at=now,
            available_until=now + dt.timedelta(minutes=1),
        )
        make_volume(number, backends, tenant, host, now)
        Drain.objects.create(
            backend=(new or backends)[number % len(backends)], was_in_use=True, replicas_before=7
        )
        replica = Replica.objects.filter(volume__uuid=f"volume-{number}")[0]
        ReplicaRelocation.objects.create(
            replica=replica, refusal="no room", task_id="t", again_at=now
        )
        JobRun.objects.create(job=f"job-{number}")
        JobLease.objects.create(job=f"job-{number}", until=now, unbroken_since=now)
        backends[0].orphans.create(kind="volume", uuid=f"orphan-{number}", generation=1)
        state = list(TaskState)[number % 5]
        ended = state in {TaskState.FINISHED, TaskState.FAILED, TaskState.ABORTED}
        server = SyslogServer.objects.create(
            node_server_id=number,
            url=f"tcp://10.2.0.{number}:601",
            name=f"log-{number}",
            state=True,
            use_tls=False,
        )
        server.records.create(content=b"<14>1 - h a - - - m")
        Task.objects.create(
            type=TaskType.REMOTE_MIGRATION,
            state=state,
            host_id=host.uuid,
            volume_id=f"volume-{number}",
            progress=number * 10 % 101,
            lease_until=None if ended else now + dt.timedelta(minutes=number - 1),
            ended_at=now if ended else None,
        )


def page(model, kind, *arguments):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{kind}", args=arguments)
