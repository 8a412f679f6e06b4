"""Checks before a storage node is added to the pool or changed."""

from collections.abc import Sequence

from django.conf import settings
from pydantic import ValidationError

from inventory.health import COMPATIBLE_MAJOR_VERSION, is_compatible
from inventory.models import Backend, BackendAddress
from inventory.nodes.client import NodeClient, NodeRefused, NodeUnreachable
from inventory.nodes.wire import Node
from inventory.services.node.call_time import seconds_left
from inventory.services.node.reachability import is_out_of_reach
from provisioner.common.results import ProvisionerError, ResultCode

CALL_SECONDS = 8.0
"""Of one call at most."""
LOCATION_LENGTH = 255


class BackendKnown(ProvisionerError):
    """The persistentID, the nodeToken, or an address with its port belongs to a backend in the
    pool.
    """

    code = ResultCode.AlreadyExists


class HostHasBackend(ProvisionerError):
    """A host runs at most one backend."""

    code = ResultCode.BackendWithHostIdAlreadyExists


class LocationTooLong(ProvisionerError):
    """A text of the location has more than 255 characters."""

    code = ResultCode.InvalidLocationValue


class NodeHasNoSsd(ProvisionerError):
    """The node has no SSD."""

    code = ResultCode.NoGroups


class NodeNotAvailable(ProvisionerError):
    """The node cannot be reached, refuses the call, or cannot be used by this pool."""

    code = ResultCode.NotAvailable


def check_location(*, rack: str | None, zone: str | None, region: str | None) -> None:
    """Check the lengths of rack, zone and region.

    :raises LocationTooLong: names the first that has more than 255 characters.
    """
    for name, value in (("rack", rack), ("zone", zone), ("region", region)):
        if value is not None and len(value) > LOCATION_LENGTH:
            raise LocationTooLong(
                f"{name} has {len(value)} characters, at most {LOCATION_LENGTH} are allowed; "
                f"it begins with {value[:40]!r}"
            )


def refuse_known(
    *,
    mgmt_ips: Sequence[str],
    mgmt_port: int,
    host_id: str | None = None,
    persistent_id: str | None = None,
    token_digest: str = "",
    besides: str | None = None,
) -> None:
    """Check that no backend other than ``besides`` has one of these values.

    This is called before a write, to explain a refusal without calling the node, and again after a
    constraint has refused the write.

    :raises BackendKnown, HostHasBackend: names the other backend.
    """
    taken = BackendAddress.objects.filter(address__in=mgmt_ips, port=mgmt_port)
    if address := taken.exclude(backend_id=besides).first():
        raise BackendKnown(f"{address} is the address of backend {address.backend_id!r}")
    if persistent_id and Backend.objects.filter(pk=persistent_id).exists():
        raise BackendKnown(
            f"the storage node at {mgmt_ips[0]} port {mgmt_port} has persistentID "
            f"{persistent_id!r} and is already in the pool"
        )
    if token_digest:
        other = Backend.objects.filter(token_digest=token_digest).exclude(pk=besides).first()
        if other is not None:
            raise BackendKnown(
                f"backend {other.pk!r} already has this nodeToken: each node needs its own token"
            )
    if host_id:
        other = Backend.objects.filter(host_id=host_id).exclude(pk=besides).first()
        if other is not None:
            raise HostHasBackend(f"host {host_id!r} already runs backend {other.pk!r}")


def call_seconds(until: float) -> float:
    """Return how long one call may take if all calls together must end at ``until``, a time of the
    monotonic clock.
    """
    return min(CALL_SECONDS, seconds_left(until))


def read_node(client: NodeClient, mgmt_ips: Sequence[str], mgmt_port: int, *, until: float) -> Node:
    """Read the node that is to be added or changed, until a time of the monotonic clock.

    :raises NodeNotAvailable: names the addresses and the error.
    """
    try:
        return client.read_node(timeout=call_seconds(until))
    except (NodeRefused, NodeUnreachable) as error:
        raise NodeNotAvailable(
            f"no storage node answers at {', '.join(mgmt_ips)} port {mgmt_port}: {_reason(error)}"
        ) from error


def _reason(error: NodeRefused | NodeUnreachable) -> str:
    """Return the text of the error and, for an unreadable answer, the fields that are missing or
    wrong.
    """
    if not isinstance(error.__cause__, ValidationError):
        return str(error)
    fields = {".".join(map(str, wrong["loc"])) for wrong in error.__cause__.errors()}
    return f"{error}: {', '.join(sorted(fields))}"


def check_reaches_us(mgmt_ips: Sequence[str]) -> None:
    """Check that the node can reach this system. Otherwise it would become Unavailable a few
    minutes later.

    :raises NodeNotAvailable: PUBLIC_URL is an address of this machine only.
    """
    if is_out_of_reach(mgmt_ips):
        raise NodeNotAvailable(
            f"the storage node at {', '.join(mgmt_ips)} cannot reach "
            f"{settings.ENVIRONMENT.url_for_nodes}: set PUBLIC_URL to the address at which nodes "
            "reach the API"
        )


def check_usable(node: Node) -> None:
    """Check the version of the node, and that it has SSDs.

    :raises NodeNotAvailable: the version is incompatible.
    :raises NodeHasNoSsd: it has no SSD.
    """
    if not is_compatible(node.version):
        raise NodeNotAvailable(
            f"storage node {node.persistent_id!r} has version {node.version!r}, which is "
            f"incompatible; version {COMPATIBLE_MAJOR_VERSION} is required"
        )
    if not node.ssds:
        raise NodeHasNoSsd(f"storage node {node.persistent_id!r} has no SSD")


def check_same_node(backend: Backend, node: Node, mgmt_ips: Sequence[str], mgmt_port: int) -> None:
    """Check that the node at the new address is the node of the backend.

    :raises NodeNotAvailable: another node answered.
    """
    if node.persistent_id != backend.persistent_id:
        raise NodeNotAvailable(
            f"the storage node at {', '.join(mgmt_ips)} port {mgmt_port} is "
            f"{node.persistent_id!r}, not {backend.persistent_id!r}"
        )
