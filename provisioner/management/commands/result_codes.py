"""``manage.py result_codes``: write docs/reference/result-codes.md."""

from collections import defaultdict
from typing import Any

from drf_spectacular.generators import SchemaGenerator

from provisioner.common.api import TRANSPORT_CODES
from provisioner.common.pages import PageCommand
from provisioner.common.results import ResultCode

HEAD = """# Result codes

Each answer of the API that is not a list or an object of the pool has two fields: `status`, a
result code, and `description`, a sentence for people. Programs should use the code, because the
sentence may change. Codes are never changed and never reused.
`manage.py result_codes` writes this page.

Operations answer with HTTP 200 even if they are refused: check the result code. `InvalidInput` has
HTTP 400. The codes of the last table have the HTTP status that it lists.

Exit codes of the command line: [provisionerctl](cli.md#exit-codes). The test that produces each
code of each operation: [API coverage](api-coverage.md).

## Results of operations

| code | meaning | remedy | operations |
| --- | --- | --- | --- |
"""
TRANSPORT_HEAD = """
## Results of any request

| code | HTTP | meaning | remedy |
| --- | --- | --- | --- |
"""
MANY = 12
"""If a code has this number of operations or more, the page shows only their number."""

MEANINGS = {
    ResultCode.Success: (
        "The operation was carried out, or its task was accepted.",
        "Nothing.",
    ),
    ResultCode.InvalidInput: (
        "A field is missing, has a wrong type or is out of range. Nothing was changed.",
        "Correct the field that the description names.",
    ),
    ResultCode.AlreadyExists: (
        "A uuid, alias, NQN or address that must be unique is already used.",
        "Read the object that uses it, or choose another value.",
    ),
    ResultCode.NotExists: (
        "The object does not exist, or the caller's tenant does not own it.",
        "Check the id and the tenant in the path.",
    ),
    ResultCode.NoGroups: (
        "The node reports no SSD.",
        "Check the drives of the node and its agent's log.",
    ),
    ResultCode.InvalidLocationValue: (
        "Region, zone or rack has more than 255 characters.",
        "Shorten it.",
    ),
    ResultCode.NotAvailable: (
        "A node or replica that the operation needs cannot be used now.",
        "Read the description; try again when `GET /backends` shows the node as Available.",
    ),
    ResultCode.BackendWithHostIdAlreadyExists: (
        "A backend already runs in the host, and a host may have only one.",
        "Remove the other backend, or correct the node's hostId.",
    ),
    ResultCode.BackendHasVolumes: (
        "Replicas on the node prevent its removal.",
        "Drain the node first.",
    ),
    ResultCode.CommunicationError: (
        "No node of the pool can be reached.",
        "Check the network and the certificates between API and nodes.",
    ),
    ResultCode.LicenseError: (
        "The licence allows no more nodes, at least half of the nodes did not accept it, or "
        "another licence is being installed.",
        "Install another licence, or read the names of the failed nodes in the description.",
    ),
    ResultCode.InvalidLicense: (
        "The licence cannot be decoded, is not signed by the vendor, or has expired.",
        "Request a new licence from its issuer.",
    ),
    ResultCode.SyslogNotAvailable: (
        "No syslog server accepts the record.",
        "Check the syslog servers of the pool.",
    ),
    ResultCode.HostAvailable: (
        "The host's agent has probed lately, so the host may still use volumes.",
        "Stop the agent, then wait until the host is Unavailable.",
    ),
    ResultCode.TenantAlreadyExists: (
        "The name or the id of the tenant is already used.",
        "Choose another name or id.",
    ),
    ResultCode.TenantNotFound: (
        "The tenant does not exist, or the caller may not use it.",
        "Check the tenant in the path.",
    ),
    ResultCode.TenantHasVolumes: (
        "Volumes or snapshots belong to the tenant.",
        "Delete them first.",
    ),
    ResultCode.TenantCapacityExceeded: (
        "The tenant's budget has no room for the change.",
        "Raise the budget, or delete volumes or snapshots.",
    ),
    ResultCode.NoBackends: (
        "The pool has no node, so there is no capacity for tenants.",
        "Add a node.",
    ),
    ResultCode.InvalidReplicas: (
        "The number of replicas is out of range.",
        "Request 1 to 3 replicas. A replica can be added to a volume that has fewer than 4.",
    ),
    ResultCode.NoMatchingBackend: (
        "No node fits any of the replicas.",
        "The description counts the nodes by the rule that refused them.",
    ),
    ResultCode.NotEnoughMatchingBackends: (
        "Nodes fit some of the replicas, but not all.",
        "The description counts the nodes by the rule that refused them.",
    ),
    ResultCode.NoBackendWithHostIdExists: (
        "No node has the requested hostId.",
        "Check `GET /backends`.",
    ),
    ResultCode.VolumeIsInUse: (
        "Hosts use the volume, or snapshots or clones depend on it.",
        "Unpublish the volume; delete its snapshots and clones.",
    ),
    ResultCode.InvalidSize: (
        "The capacity is not greater than the present one, or is too large.",
        "Request a greater capacity within the limits.",
    ),
    ResultCode.NoFreeSpace: (
        "An SSD or node has too little free capacity, IOPS or bandwidth.",
        "Free some of it, or choose another node.",
    ),
    ResultCode.NotReplicated: (
        "The operation needs a volume that was created with several replicas.",
        "Drain the node to move a single replica.",
    ),
    ResultCode.Replicated: (
        "The volume has several replicas. Only a volume of one replica can be snapshotted or "
        "cloned.",
        "Use a volume of one replica.",
    ),
    ResultCode.ReplicaTerminating: (
        "A replica of the volume is being removed.",
        "Wait until the host has confirmed the removal.",
    ),
    ResultCode.TopologyConstraints: (
        "Nodes have room, but are in another region, zone or rack than requested.",
        "Add nodes there.",
    ),
    ResultCode.NotInUse: (
        "The nodes that fit are cordoned.",
        "Uncordon one.",
    ),
    ResultCode.SameRackNotAllowed: (
        "The racks of all nodes that fit already hold a replica.",
        "Allow the same rack, or add nodes in other racks.",
    ),
    ResultCode.AllReplicasDown: (
        "No other replica of the volume is Available.",
        "Make another replica Available first.",
    ),
    ResultCode.NoTerminating: (
        "The replica is not marked for removal, so its removal cannot be confirmed.",
        "Delete the replica first.",
    ),
    ResultCode.ReplicaNotFound: (
        "The volume has no such replica.",
        "Check the volume's replicas.",
    ),
    ResultCode.VolumeNoFound: (
        "The same as NotExists. Migrate Volume uses this name.",
        "Check the id and the tenant in the path.",
    ),
    ResultCode.NotEnoughReplicas: (
        "Fewer replicas are Available than the volume was created with.",
        "Wait for the rebuild, then migrate.",
    ),
    ResultCode.TaskAlreadyRunning: (
        "The volume already has an active task.",
        "Wait for it, or stop it.",
    ),
    ResultCode.NoBackendToMigrateReplica: (
        "No node can take the replica.",
        "The description counts the nodes by the rule that refused them.",
    ),
    ResultCode.VolumePublishedToMultipleHosts: (
        "The volume is published to several hosts. A migration needs a single host.",
        "Unpublish it from all hosts except one.",
    ),
    ResultCode.HostNotFound: (
        "The host is not known, or belongs to another tenant.",
        "Start its agent, or correct the id.",
    ),
    ResultCode.VolumeNotFound: (
        "The same as NotExists. Operations on publications use this name.",
        "Check the id and the tenant in the path.",
    ),
    ResultCode.PublishFailed: (
        "No replica could be exported. The request changed nothing.",
        "Read the answer of each node in the description; try again.",
    ),
    ResultCode.UnpublishFailed: (
        "A node did not confirm the removal of an export. The provisioner tries again in the "
        "background.",
        "Try again.",
    ),
    ResultCode.AlreadyPublished: (
        "The volume is published to this host already.",
        "Nothing: `GET /targets` shows how to connect.",
    ),
    ResultCode.VolumeNotPublished: (
        "The volume is not published to the host, or to any host.",
        "Nothing, or publish it first.",
    ),
    ResultCode.VolumeNotInHost: (
        "The volume is Local, and its node does not run inside that host.",
        "Publish it to the host of its node.",
    ),
    ResultCode.TaskNotFound: (
        "There is no such task, or the caller may not see it.",
        "Check the id. Ended tasks are listed only for a while.",
    ),
    ResultCode.UpdateTaskFailed: (
        "The task does not allow this change.",
        "The description names the allowed states.",
    ),
    ResultCode.TaskEnded: (
        "The task has ended, so it cannot be changed.",
        "Nothing.",
    ),
    ResultCode.NoTask: (
        "The same as TaskNotFound. Remove Task uses this name.",
        "Check the id.",
    ),
    ResultCode.OngoingTask: (
        "The task is active, so it cannot be removed.",
        "Stop it first.",
    ),
    ResultCode.TaskBelongsToOtherHost: (
        "Another host works on the task.",
        "Let that host report it.",
    ),
    ResultCode.CreateProvisionerClientTokenFailed: (
        "The authorization server issues no token for the provisioner's client.",
        "Check its id, secret and URL.",
    ),
    ResultCode.CreateBackendsClientTokenFailed: (
        "The authorization server issues no token for the nodes' client.",
        "Check its id, secret and URL.",
    ),
    ResultCode.DecryptProvisionerClientTokenFailed: (
        "The token of the provisioner's client is not valid.",
        "Check the issuer, the audience and the keys of the server.",
    ),
    ResultCode.DecryptBackendsClientTokenFailed: (
        "The token of the nodes' client is not valid.",
        "Check the issuer, the audience and the keys of the server.",
    ),
    ResultCode.ProvisionerClientUnauthorized: (
        "The provisioner's client lacks the role ADMIN.",
        "Grant the role in the authorization server.",
    ),
    ResultCode.BackendsClientUnauthorized: (
        "The nodes' client lacks the role ADMIN.",
        "Grant the role in the authorization server.",
    ),
    ResultCode.NoChange: (
        "The same authorization server is already set.",
        "Nothing.",
    ),
    ResultCode.InvalidAuthMode: (
        "No authorization server is set.",
        "Nothing.",
    ),
    ResultCode.BadRequest: (
        "The request cannot be parsed.",
        "Correct the request.",
    ),
    ResultCode.Unauthorized: (
        "Credentials are missing, wrong or expired.",
        "Log in again.",
    ),
    ResultCode.Forbidden: (
        "The caller's role or tenant does not allow the operation.",
        "Use other credentials.",
    ),
    ResultCode.NotFound: (
        "There is no such path.",
        "Check the path against the API reference.",
    ),
    ResultCode.MethodNotAllowed: (
        "The path has no such method.",
        "Check the method against the API reference.",
    ),
    ResultCode.Conflict: (
        "Reserved for a conflict with another request. This version repeats such requests itself, "
        "and never answers with this code.",
        "Try again.",
    ),
    ResultCode.PayloadTooLarge: (
        "The body is too large.",
        "Send less.",
    ),
    ResultCode.UnsupportedMediaType: (
        "The body is not JSON.",
        "Send `Content-Type: application/json`.",
    ),
    ResultCode.TooManyRequests: (
        "The caller, or the process, has too many requests or failed logins.",
        "Wait for the seconds in `Retry-After`.",
    ),
    ResultCode.InternalError: (
        "A bug; the log has the details under the `X-Request-ID`.",
        "Report it with that id.",
    ),
    ResultCode.ServiceUnavailable: (
        "The database, or another part that the API needs, cannot serve now.",
        "Try again after `Retry-After`.",
    ),
}
"""The meaning and the remedy of each code."""


class Command(PageCommand):
    page = "docs/reference/result-codes.md"

    def text(self) -> str:
        operations = _operations()
        transport = {code: status for status, code in TRANSPORT_CODES.items()}
        codes = [code for code in ResultCode if code not in transport]
        lines = [HEAD, *(_line(code, operations[code]) for code in codes), TRANSPORT_HEAD]
        for code in filter(transport.__contains__, ResultCode):
            meaning, action = MEANINGS[code]
            lines.append(f"| `{code}` | {transport[code].value} | {meaning} | {action} |\n")
        return "".join(lines)


def _line(code: ResultCode, operations: list[str]) -> str:
    meaning, action = MEANINGS[code]
    named = ", ".join(operations)
    if code is ResultCode.InvalidInput:
        named = "all"
    elif len(operations) >= MANY:
        named = f"{len(operations)} operations"
    return f"| `{code}` | {meaning} | {action} | {named} |\n"


def _operations() -> dict[str, list[str]]:
    """The names of the operations that may answer each code, from the OpenAPI description."""
    schema: dict[str, Any] = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call] # untyped library
    found: dict[str, set[str]] = defaultdict(set)
    for methods in schema["paths"].values():
        for operation in methods.values():
            content = operation["responses"]["200"]["content"]
            answer = content.get("application/json", {}).get("schema", {})
            for envelope in [answer, *answer.get("oneOf", ())]:
                for code in envelope.get("properties", {}).get("status", {}).get("enum", ()):
                    found[code].add(operation["summary"])
    return defaultdict(list, {code: sorted(names) for code, names in found.items()})
