"""All actions of the console."""

from typing import Any

from provisioner.console.actions import nodes, pool, volumes
from provisioner.console.actions.page import admin_options

ACTIONS = [*nodes.ACTIONS, *volumes.ACTIONS, *pool.ACTIONS]
_GROUPS = {**nodes.GROUPS, **volumes.GROUPS, **pool.GROUPS}


def actions_of(model: Any) -> dict[str, Any]:
    """What the admin class of a model needs to show its actions; nothing if it has none."""
    actions = [action for action in ACTIONS if action.model is model]
    return admin_options(actions, _GROUPS.get(model, [])) if actions else {}
