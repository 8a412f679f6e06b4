"""Which hosts are connected to a volume now, as its nodes say."""

from functools import partial

from inventory.models import Host
from inventory.nodes.client import call_all
from inventory.services.nodes import node_client
from volumes.models import Volume

SECONDS = 5.0


def sessions_read(volume: Volume) -> dict[int, list[str]]:
    """Connected hosts' uuids by replica key; a node that does not answer says nothing.

    ``volume`` with replicas, their backends and addresses prefetched.
    """
    replicas = [r for r in volume.replicas.all() if r.backend is not None]
    targets = call_all(
        {
            r.pk: partial(node_client(r.backend).list_targets, timeout=SECONDS)
            for r in replicas
            if r.backend is not None
        },
        timeout_seconds=SECONDS,
    )
    nqns = {
        r.pk: {
            nqn
            for target in answer
            if any(n.volume_uuid == r.uuid for n in target.namespaces)
            for nqn in target.connected_hosts
        }
        for r in replicas
        if isinstance(answer := targets[r.pk], tuple)
    }
    hosts = Host.objects.filter(nqn__in=set().union(*nqns.values()))
    uuids = dict(hosts.values_list("nqn", "uuid"))
    return {key: sorted(uuids[n] for n in names if n in uuids) for key, names in nqns.items()}
