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
    """The pool that a node belongs to. It is the pool in the settings of the provisioner."""

    def __init__(self, database: Database, records: Records, fences: Fences) -> None:
        self._database = database
        self._records = records
        self._fences = fences

    @property
    def settings(self) -> ProvisionerSettings | None:
        """The settings of the provisioner. None: the node belongs to no pool."""
        return self._records.setting(PROVISIONER, ProvisionerSettings)

    @property
    def pool(self) -> PoolIdentity | None:
        """The pool that the node belongs to, or None."""
        return self._last if self.settings else None

    def put(self, settings: ProvisionerSettings) -> None:
        """Join the pool of these settings.

        If the node joins another pool than before, the generations of objects that no longer exist
        are forgotten, because they have no meaning in the new pool. If the node joins another pool,
        or remembers no pool and so may have lost its records, it does not create volumes with
        generations up to ``newest_generation``.

        :raises NodeRefused: CONFLICT: the node belongs to another pool.
        """
        pool, last = settings.pool, self._last
        if pool and self.pool and pool.uuid != self.pool.uuid and not settings.take_over:
            raise NodeRefused(
                RefusalCode.CONFLICT, f"this node belongs to {self.pool}, not to {pool}"
            )
        with self._database.transaction():
            if pool and last and pool.uuid != last.uuid:
                self._fences.forget_removed()
            if pool and (last is None or pool.uuid != last.uuid):
                self._fences.begin(settings.newest_generation)
            if pool:
                self._records.put_setting(POOL, pool)
            kept = settings.model_copy(update={"take_over": False, "newest_generation": 0})
            self._records.put_setting(PROVISIONER, kept)

    def leave(self, pool_uuid: str) -> None:
        """Leave this pool. A node of another pool is not changed."""
        if self._last is None or self._last.uuid == pool_uuid:
            self._records.drop_setting(PROVISIONER)

    @property
    def _last(self) -> PoolIdentity | None:
        return self._records.setting(POOL, PoolIdentity)


def refuse_other_pool(pool: PoolIdentity | None, owner: Owner | None) -> None:
    """Check that a new object belongs to the pool of the node.

    :raises NodeRefused: CONFLICT: it belongs to another pool, or the node belongs to none.
    """
    if owner and (pool is None or owner.pool != pool.uuid):
        raise NodeRefused(
            RefusalCode.CONFLICT,
            f"this node belongs to {pool or 'no pool'}, not to pool {owner.pool}",
        )


def refuse_other_owner(what: str, old: Spec, new: Spec) -> None:
    """Check that the existing object ``old`` has the same owner as ``new``, or that one of them has
    no owner.

    :raises NodeRefused: CONFLICT
    """
    if old.owner and new.owner and not old.owner.is_same(new.owner):
        raise NodeRefused(RefusalCode.CONFLICT, f"{what} is {old.owner}, not {new.owner}")
