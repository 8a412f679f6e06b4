"""Preview of a drain of a node."""

from dataclasses import dataclass

from provisioner.common.models import LifeState
from provisioner.common.results import ProvisionerError
from tasks.models import Task
from volumes.models import Replica, Volume
from volumes.services.errors import CannotMove
from volumes.services.replica.replacement_rules import (
    OUTGOING,
    replacement_request,
    require_movable,
)
from volumes.services.scheduling import require_plan, volume_place


@dataclass(frozen=True)
class PlannedMove:
    """A replica on a node, with its planned new node (``destination``, a backend id), or the reason
    why it cannot move now (``refusal``).
    """

    replica: Replica
    destination: str = ""
    refusal: str = ""


def drain_preview(*, persistent_id: str, most: int) -> list[PlannedMove]:
    """Plan the moves of at most ``most`` replicas of a node. Each is planned as if it were the only
    one.

    Nothing is claimed. The actual destination of a replica may be another one.
    """
    rows = Replica.objects.filter(backend=persistent_id, state=LifeState.READY)
    replicas = rows.select_related("volume").order_by("volume__uuid", "pk")[:most]
    return [_planned(replica) for replica in replicas]


def _planned(replica: Replica) -> PlannedMove:
    try:
        return PlannedMove(replica, destination=_destination(replica.volume, replica))
    except ProvisionerError as refused:
        return PlannedMove(replica, refusal=refused.description)


def _destination(volume: Volume, replica: Replica) -> str:
    if replica.rebuilding:
        raise CannotMove(
            f"replica {replica.uuid!r} is being rebuilt: the move is tried again later"
        )
    draft = Task(outputs={OUTGOING: replica.pk})
    require_movable(volume, draft)
    plan = require_plan(volume_place(volume, replacement_request(volume, draft)))
    return plan.chosen[0].node.persistent_id
