"""One storage node, with identity, settings, volumes, snapshots, targets and copies, which uses an
engine.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from inventory.nodes.agent.database import Database
from inventory.nodes.agent.fences import Fences, Name
from inventory.nodes.agent.locks import Locks
from inventory.nodes.agent.membership import Membership
from inventory.nodes.agent.records import Records
from inventory.nodes.agent.snapshots import Snapshots
from inventory.nodes.agent.syncs import Syncs
from inventory.nodes.agent.targets import Targets
from inventory.nodes.agent.volumes import Volumes
from inventory.nodes.drift import Drift
from inventory.nodes.engines.base import Engine, Known
from inventory.nodes.errors import NodeRefused
from inventory.nodes.probes import Changes, Probe
from inventory.nodes.syslogs import SyslogServers
from inventory.nodes.wire import (
    License,
    NamespaceSpec,
    Node,
    ProvisionerSettings,
    RefusalCode,
    SnapshotSpec,
    SyncSpec,
    VolumeSpec,
)

OnChange = Callable[[int], None]
GenerationChecker = Callable[[Name, VolumeSpec | SnapshotSpec | NamespaceSpec | SyncSpec], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Identity:
    """The identity of the node, and the address of its agent."""

    persistent_id: str
    name: str
    addresses: tuple[str, ...]
    port: int


class Agent:
    """The node API without HTTP. All methods run in one event loop.

    ``on_change`` is called with bits of ``Changes``, or 0, when the provisioner should be told.
    ``generation_checker`` is called with each well-formed write before the write is checked.
    """

    def __init__(self, identity: Identity, engine: Engine, database: Database) -> None:
        self.identity = identity
        self.engine = engine
        self.on_change: OnChange = lambda changes: None
        self.generation_checker: GenerationChecker = lambda name, spec: None
        self.now: Callable[[], float] = time.time
        self.boot_id = ""
        self._is_up = False
        self._records = Records(database, identity.persistent_id)
        self._fences = fences = Fences(database, identity.persistent_id)
        self._membership = Membership(database, self._records, fences)
        locks = Locks()
        parts = (engine, database, self._records, fences, locks)
        self._volumes = Volumes(*parts, membership=self._membership)
        self._snapshots = Snapshots(*parts, membership=self._membership)
        self._targets = Targets(*parts, volumes=self._volumes)
        self._syncs = Syncs(engine, self._records, fences, locks)
        engine.on_change = self._changed

    async def start(self) -> None:
        """Start the engine, or start again after the engine restarted. Returns when everything that
        hosts need is restored. Call ``repair`` and ``finish_removals`` afterwards.
        """
        self.stop()
        self.boot_id = uuid.uuid4().hex
        await self.engine.start()
        await self._volumes.restore()
        await self._targets.restore()
        self._is_up = True
        log.info("node %s is up, boot %s", self.identity.persistent_id, self.boot_id)

    async def repair(self) -> bool:
        """Retry what could not be restored, or what a target still lacks. This waits for no
        removal. Returns True if nothing is left to repair.

        :raises Exception: the engine cannot tell what exists.
        """
        are_limited = await self._volumes.repair_limits()
        return await self._targets.repair() and are_limited

    async def finish_removals(self) -> bool:
        """Finish interrupted removals, which may take hours. Returns True if none is left.

        :raises Exception: a part failed. The other part has done its work.
        """
        parts = (self._volumes.finish_removals(), self._snapshots.finish_removals())
        done = await asyncio.gather(*parts, return_exceptions=True)
        for one in done:
            if isinstance(one, BaseException):
                raise one
        return all(done)

    def stop(self) -> None:
        """Refuse all calls from now on, as before ``start``, and stop the background work."""
        self._is_up = False
        self._targets.close()

    @property
    def volumes(self) -> Volumes:
        """The rules for volumes.

        :raises NodeRefused: UNAVAILABLE
        """
        self._refuse_unless_up()
        return self._volumes

    @property
    def snapshots(self) -> Snapshots:
        """The rules for snapshots.

        :raises NodeRefused: UNAVAILABLE
        """
        self._refuse_unless_up()
        return self._snapshots

    @property
    def targets(self) -> Targets:
        """The rules for targets.

        :raises NodeRefused: UNAVAILABLE
        """
        self._refuse_unless_up()
        return self._targets

    @property
    def syncs(self) -> Syncs:
        """The rules for copies.

        :raises NodeRefused: UNAVAILABLE
        """
        self._refuse_unless_up()
        return self._syncs

    async def node(self) -> Node:
        """Return the identity and state of the node.

        :raises NodeRefused: UNAVAILABLE
        """
        self._refuse_unless_up()
        facts = await self.engine.facts()
        return Node(
            persistent_id=self.identity.persistent_id,
            name=self.identity.name,
            version=facts.version,
            target_driver_version=facts.target_driver_version,
            host_id=facts.host_id,
            boot_id=self.boot_id,
            total_bw=facts.total_bw,
            total_iops=facts.total_iops,
            authentication_mode=self._authentication_mode(),
            portals=facts.portals,
            ssds=facts.ssds,
            expands_spans_online=facts.expands_spans_online,
            enforces_limits=facts.enforces_limits,
            pool=self._membership.pool,
            newest_generation=self._fences.newest(),
        )

    async def drift(self) -> Drift:
        """Return the differences between the data plane and the records.

        :raises NodeRefused: UNAVAILABLE
        """
        self._refuse_unless_up()
        known = Known(self._records.volumes(), self._records.snapshots(), self._targets.known)
        return Drift(strays=await self.engine.drift(known))

    @property
    def provisioner(self) -> ProvisionerSettings | None:
        return self._membership.settings

    def put_provisioner(self, settings: ProvisionerSettings) -> None:
        """Store these settings, and probe their url from now on.

        :raises NodeRefused: CONFLICT: the settings are of another pool.
        """
        self._membership.put(settings)
        self._changed(0)

    def leave_provisioner(self, pool_uuid: str) -> None:
        """Leave this pool, and stop sending probes."""
        self._membership.leave(pool_uuid)

    def answered(self, asked: ProvisionerSettings, told: ProvisionerSettings) -> None:
        """Apply the settings in the reply to a probe (``told``). If newer settings than those of
        the probe (``asked``) have arrived meanwhile, the reply is ignored.
        """
        if told != asked and self.provisioner == asked:
            self._membership.put(told)

    @property
    def license(self) -> License:
        return self._records.setting("license", License) or License()

    def put_license(self, license: License) -> None:  # noqa: A002
        self._records.put_setting("license", license)

    @property
    def syslogs(self) -> SyslogServers:
        return self._records.setting("syslogs", SyslogServers) or SyslogServers()

    def put_syslogs(self, servers: SyslogServers) -> None:
        if servers != self.syslogs:
            self._records.put_setting("syslogs", servers)
            self._changed(Changes.SYSLOGS)

    async def probe(self, settings: ProvisionerSettings, changes: int) -> Probe:
        """Return the content of a probe. It contains no secret.

        :raises NodeRefused: UNAVAILABLE
        """
        node = await self.node()
        facts = await self.engine.facts()
        return Probe(
            persistent_id=node.persistent_id,
            available_capacity=sum(ssd.free for ssd in node.ssds),
            total_capacity=sum(ssd.capacity for ssd in node.ssds),
            used_bw=facts.used_bw,
            total_bw=facts.total_bw,
            used_iops=facts.used_iops,
            total_iops=facts.total_iops,
            mgmt_ips=self.identity.addresses,
            mgmt_port=self.identity.port,
            provisioner=settings.model_dump(
                mode="json", include={"name", "url", "push_interval", "in_use", "tags"}
            ),
            version=node.version,
            number_of_ssds=len(node.ssds),
            certified=node.certified,
            target_driver_version=node.target_driver_version,
            changes=changes,
            authentication_mode=node.authentication_mode,
            boot_id=self.boot_id,
            newest_generation=node.newest_generation,
            sent_at=int(1000 * self.now()),
        )

    def _authentication_mode(self) -> str:
        told = self.provisioner
        return "OPEN_IDC" if told and told.authorization_server else "LOCAL"

    def _changed(self, changes: int) -> None:
        self.on_change(changes)

    def _refuse_unless_up(self) -> None:
        if not self._is_up:
            raise NodeRefused(RefusalCode.UNAVAILABLE, "the engine is not up yet")
