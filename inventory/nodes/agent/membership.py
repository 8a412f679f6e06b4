"""The pool of a node, and the owners of its objects."""

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
"""Names of settings. POOL is kept when the node is released, because the fences hold generations of
that pool.
"""


class Membership:
    """The pool that a node belongs to: the one in its provisioner's settings."""

    def __init__(self, database: Database, records: Records, fences: Fences) -> None:
        self._database = database
        self._records = records
        self._fences = fences

    @property
    def settings(self) -> ProvisionerSettings | None:
        """The provisioner's settings; None: the node belongs to no pool."""
        return self._records.setting(PROVISIONER, ProvisionerSettings)

    @property
    def pool(self) -> PoolIdentity | None:
        """The pool that the node belongs to, or None."""
        return self._last if self.settings else None

    def put(self, settings: ProvisionerSettings) -> None:
        """Join the pool of these settings.

        If the node joins another pool than before, the generations of objects that no longer exist
        are forgotten, because they mean nothing there. If the node joins another pool, or remembers
        none and so may have lost its records, it creates no volume of a generation up to
        ``newest_generation``.

        :raises NodeRefused: CONFLICT: the node belongs to another pool.
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
        """Leave that pool. A node of another pool stays in it."""
        if self._last is None or self._last.uuid == pool_uuid:
            self._records.drop_setting(PROVISIONER)

    @property
    def _last(self) -> PoolIdentity | None:
        return self._records.setting(POOL, PoolIdentity)


def refuse_other_pool(pool: PoolIdentity | None, owner: Owner | None) -> None:
    """Check that a new object is of the node's pool.

    :raises NodeRefused: CONFLICT: it is of another pool, or the node belongs to none.
    """
    if owner and (pool is None or owner.pool != pool.uuid):
        raise NodeRefused(
            RefusalCode.CONFLICT,
            f"this node belongs to {pool or 'no pool'}, not to pool {owner.pool}",
        )


def refuse_other_owner(what: str, old: Spec, new: Spec) -> None:
    """Check that the existing object ``old`` has the owner of ``new``, or one of them has none.

    :raises NodeRefused: CONFLICT
    """
    if old.owner and new.owner and not old.owner.is_same(new.owner):
        raise NodeRefused(RefusalCode.CONFLICT, f"{what} is {old.owner}, not {new.owner}")
