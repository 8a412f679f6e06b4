"""Actions on tenants, tokens, the licence and tasks."""

from typing import Any

from inventory.models import License
from provisioner.access.models import RevokedToken
from provisioner.common.display import size
from provisioner.console.actions.action import Action, Facts, Field
from provisioner.console.actions.volumes import tenant_choices
from tasks.models import ACTIVE, Task, TaskState
from volumes.models import DEFAULT_TENANT, Tenant, Volume
from volumes.sizing import GIB


def _gib(tenant: Tenant | None) -> int:
    return tenant.capacity_bytes // GIB if tenant else 0


def _bandwidth(tenant: Tenant | None) -> int:
    return tenant.total_bw if tenant else 0


BUDGET = (
    Field("capacity", "Capacity", "GiB; 0: no limit", _gib),
    Field("totalIOPS", "IOPS", "0: no limit", lambda row: row.total_iops if row else 0),
    Field("totalBW", "Bandwidth", "bytes per second; 0: no limit", _bandwidth),
)


def _used(tenant: Tenant) -> Facts:
    number = Volume.objects.filter(tenant=tenant).count()
    used = f"It has {number} volume{'' if number == 1 else 's'} and uses {size(tenant.used_bytes)}."
    follows = ["Its budget follows the size of the pool until you change it here."]
    return Facts([used, *(follows if tenant.follows_pool else [])])


def _license_now(_: object) -> Facts:
    current = License.objects.first()
    return Facts([f"In force: {current}."] if current else [])


def _task(task: Task) -> Facts:
    about = f" of volume {task.volume_id}" if task.volume_id else ""
    return Facts([f"{task.type}{about}: {task.progress:.0f} % done."])


CREATE = Action(
    "create_tenant",
    Tenant,
    "Create tenant",
    "add",
    "POST",
    "/tenants",
    says="Creates a tenant: a set of volumes with a budget. A budget reserves nothing; it limits "
    "the space that the volumes of the tenant may use.",
    done="Tenant {name} is created.",
    fields=(
        Field("name", "Name"),
        Field("tenantId", "Id", "empty: a new uuid"),
        *BUDGET,
    ),
    of_list=True,
    opens=(Tenant, "tenantId", "pk"),
)

CHANGE_BUDGET = Action(
    "change_budget",
    Tenant,
    "Change budget",
    "edit",
    "PUT",
    "/tenants/{pk}",
    says="Sets the budget of the tenant. It cannot be less than the used part. Existing volumes "
    "do not change.",
    done="Tenant {row.name} has a new budget.",
    facts=_used,
    fields=BUDGET,
)

DELETE = Action(
    "delete_tenant",
    Tenant,
    "Delete",
    "delete",
    "DELETE",
    "/tenants/{pk}",
    says="Deletes the tenant and its budget. This is refused while it has volumes or snapshots.",
    done="Tenant {row.name} is deleted.",
    facts=_used,
    applies_to=lambda tenant: bool(tenant.pk != DEFAULT_TENANT),
    destroys=True,
)

ISSUE_TOKEN = Action(
    "issue_token",
    RevokedToken,
    "Issue token",
    "key",
    "POST",
    "/token",
    says="Issues a token that calls the API in your name, with some or all of your roles. It is "
    "shown once. It is valid until it expires, is revoked here, or you become inactive.",
    done="The token expires at {expirationDate}. Copy it now: it is not shown again.",
    fields=(
        Field("name", "Name", "name of the token; logs show USER/NAME"),
        Field("expiration", "Valid for", "seconds, at most 30 days", lambda _: 86_400),
        Field("roles", "Roles", "none: all roles that you have"),
        Field(
            "tenant",
            "Tenant",
            "the tenant whose objects the token can access",
            choices=tenant_choices,
            suggests=True,
        ),
        Field("node", "Node", "id of the node; required for the role NODE, and only for it"),
        Field("host", "Host", "id of the host; required for the role HOST, and only for it"),
    ),
    of_list=True,
    reveals="token",
    asks_password=True,
)

INSTALL_LICENSE = Action(
    "install_license",
    License,
    "Install licence",
    "upload",
    "POST",
    "/license",
    says="Installs a licence on all nodes. It replaces the present licence. Existing volumes stay "
    "usable even if the licence allows fewer nodes than the pool has.",
    done="The licence is being installed by task {taskId}.",
    facts=_license_now,
    fields=(Field("license", "Licence", "the text that the vendor sent", long=True),),
    of_list=True,
)

STOP_TASK = Action(
    "stop_task",
    Task,
    "Stop",
    "stop_circle",
    "PUT",
    "/tasks",
    says="Aborts the task and undoes its steps. Data that it has copied so far is lost.",
    done="Task {row.type} is being stopped.",
    facts=_task,
    body=lambda task: {
        "taskId": task.pk,
        "hostId": task.host_id,
        "state": TaskState.ABORTED.value,
    },
    applies_to=lambda task: bool(task.stoppable and task.state in ACTIVE),
    destroys=True,
)

ACTIONS = [CREATE, CHANGE_BUDGET, DELETE, ISSUE_TOKEN, INSTALL_LICENSE, STOP_TASK]
GROUPS: dict[Any, list[Any]] = {
    Tenant: ["change_budget", "delete_tenant"],
    Task: ["stop_task"],
}
