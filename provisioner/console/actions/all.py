"""All actions of the console."""

from typing import Any

from provisioner.console.actions import nodes, pool, volumes
from provisioner.console.actions.page import admin_options

ACTIONS = [*nodes.ACTIONS, *volumes.ACTIONS, *pool.ACTIONS]
_GROUPS = {**nodes.GROUPS, **volumes.GROUPS, **pool.GROUPS}


def actions_of(model: Any) -> dict[str, Any]:
    """Return the attributes that the admin class of a model needs for its actions. Without actions,
    the result is empty.
    """
    actions = [action for action in ACTIONS if action.model is model]
    return admin_options(actions, _GROUPS.get(model, [])) if actions else {}
