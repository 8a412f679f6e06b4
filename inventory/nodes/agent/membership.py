"""Whose things are, and whose the node is."""

from inventory.nodes.agent.database import Database
from inventory.nodes.agent.fences import Fences
from inventory.nodes.agent.records import Records
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import (
    Owner,
    PoolIdentity,
    ProvisionerSettings,
    RefusalCode,
    SnapshotSpec,
    VolumeSpec,
)

Spec = VolumeSpec | SnapshotSpec
PROVISIONER, POOL = "provisioner", "pool"
"""Settings; the pool stays known when the node is let go, for the generations it remembers."""


class Membership:
    """The pool that a node belongs to: that of the settings by which it probes."""

    def __init__(self, database: Database, records: Records, fences: Fences) -> None:
        self._database = database
        self._records = records
        self._fences = fences

    @property
    def settings(self) -> ProvisionerSettings | None:
        return self._records.setting(PROVISIONER, ProvisionerSettings)

    @property
    def pool(self) -> PoolIdentity | None:
        return self._last if self.settings else None

    def put(self, settings: ProvisionerSettings) -> None:
        """Belong to these settings' pool. Where that is another than before, generations that were
        seen for what is not there any more mean nothing, and where none is remembered, the node may
        have lost its records: then it makes no volume that was decided before.

        :raises NodeRefused: CONFLICT; the node belongs to another one.
        """
        pool, last = settings.pool, self._last
        if pool and self.pool and pool.uuid != self.pool.uuid and not settings.take_over:
            raise NodeRefused(
                RefusalCode.CONFLICT, f"this node belongs to {self.pool}, not to {pool}"
            )
        with self._database.transaction():
            if pool and last and pool.uuid != last.uuid:
                self._fences.forget_gone()
            if pool and (last is None or pool.uuid != last.uuid):
                self._fences.begin(settings.newest_generation)
            if pool:
                self._records.put_setting(POOL, pool)
            kept = settings.model_copy(update={"take_over": False, "newest_generation": 0})
            self._records.put_setting(PROVISIONER, kept)

    def leave(self, pool_uuid: str) -> None:
        """Belong to that pool no more; to another: that stays."""
        if self._last is None or self._last.uuid == pool_uuid:
            self._records.drop_setting(PROVISIONER)

    @property
    def _last(self) -> PoolIdentity | None:
        return self._records.setting(POOL, PoolIdentity)


def refuse_other_pool(pool: PoolIdentity | None, owner: Owner | None) -> None:
    """:raises NodeRefused: CONFLICT; what is to be made is of another pool than the node, which may
    belong to none.
    """
    if owner and (pool is None or owner.pool != pool.uuid):
        raise NodeRefused(
            RefusalCode.CONFLICT,
            f"this node belongs to {pool or 'no pool'}, not to pool {owner.pool}",
        )


def refuse_other_owner(what: str, old: Spec, new: Spec) -> None:
    """:raises NodeRefused: CONFLICT; it is there, and somebody else's."""
    if old.owner and new.owner and not old.owner.is_same(new.owner):
        raise NodeRefused(RefusalCode.CONFLICT, f"{what} is {old.owner}, not {new.owner}")
