"""The pool that a node belongs to."""

from inventory.nodes.agent.database import Database
from inventory.nodes.agent.fences import Fences
from inventory.nodes.agent.membership import Membership
from inventory.nodes.agent.records import Records
from inventory.nodes.wire import PoolIdentity, ProvisionerSettings

OURS = PoolIdentity(uuid="0b5a1a2e-1111-4222-8333-444455556666", name="ours")
THEIRS = PoolIdentity(uuid="0b5a1a2e-1111-4222-8333-777788889999", name="theirs")


def test_only_its_own_pool_releases_a_node() -> None:
    """A pool may have lost the node to another one by a take-over. Its removal comes too late."""
    database = Database()
    membership = Membership(database, Records(database, "n"), Fences(database, "n"))
    membership.put(
        ProvisionerSettings(
            name="p", url="https://127.0.0.1:1", push_interval=3600, in_use=True, pool=OURS
        )
    )
    for other in (THEIRS.uuid, ""):
        membership.leave(other)
        assert membership.pool == OURS
    membership.leave(OURS.uuid)
    assert membership.pool is None
    assert membership.settings is None
