"""The hosts that are connected to a volume now, as its nodes report them."""

from collections.abc import Iterable
from functools import partial

from inventory.models import Backend, Host
from inventory.nodes.client import call_all
from inventory.services.node.clients import node_client
from volumes.read_models import ReplicaRow

SECONDS = 5.0


def sessions_read(shown: Iterable[ReplicaRow]) -> dict[int, list[str]]:
    """Return the uuids of connected hosts by replica key. Nodes that do not answer are skipped."""
    replicas = {r.id: r for r in shown if r.backend_id is not None}
    nodes = Backend.objects.prefetch_related("addresses").in_bulk(
        [r.backend_id for r in replicas.values()]
    )
    calls = {
        key: partial(node_client(nodes[r.backend_id]).list_targets, timeout=SECONDS)
        for key, r in replicas.items()
        if r.backend_id in nodes
    }
    of_nodes = {key: r.backend_id for key, r in replicas.items()}
    targets = call_all(calls, timeout_seconds=SECONDS, nodes=of_nodes)
    nqns = {
        key: {
            nqn
            for target in answer
            if any(n.volume_uuid == replicas[key].uuid for n in target.namespaces)
            for nqn in target.connected_hosts
        }
        for key, answer in targets.items()
        if isinstance(answer, tuple)
    }
    hosts = Host.objects.filter(nqn__in=set().union(*nqns.values()))
    uuids = dict(hosts.values_list("nqn", "uuid"))
    return {key: sorted(uuids[n] for n in names if n in uuids) for key, names in nqns.items()}
