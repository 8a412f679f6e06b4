"""A node check that is running changes nothing on nodes after writes were barred."""

from typing import Any

import pytest

from inventory.models import Backend
from inventory.nodes import wire
from inventory.nodes.client import NodeClient
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.nodes.transport import NodeCall
from inventory.services.node.clients import node_client
from inventory.services.pool.generations import generation_next
from provisioner.common import writes
from tests.api.snapshot_steps import snapped
from tests.api.volume_steps import HOST, created, probe_host, published
from tests.conftest import Api
from tests.volumes.reconcilers.node_check_steps import Pool, check, grow_old, stray_volume
from tests.volumes.reconcilers.readopt_steps import remove
from volumes.models import Export
from volumes.reconcilers.node_check.orphans import orphans_store
from volumes.services.node.contents import NodeContents, nodes_read

pytestmark = pytest.mark.django_db(transaction=True)

WORK = [
    "PUT /v1/node/provisioner",
    "DELETE /v1/targets/{nqn}/namespaces/{uuid} gone",
    "PUT /v1/snapshots/{uuid} s",
    "PATCH /v1/volumes/{uuid} gone",
    "PATCH /v1/volumes/{uuid} v",
    "DELETE /v1/targets/{nqn}/namespaces/{uuid} orphan",
    "DELETE /v1/volumes/{uuid} orphan",
    "PUT /v1/targets/{nqn}/namespaces/{uuid} v",
]
"""The changes on the node: it gets its settings, a former export is removed, owner records are
written, orphans are removed, and an export is created again with other controller ids.
"""


def needs_everything(api: Api, pool: Pool, fleet: SimulatedFleet) -> dict[str, str]:
    """Prepare a node on which the next check makes all changes of WORK. Returns names by uuid."""
    [node] = pool(1)
    gone = created(api, "gone")
    published(api, gone, probe_host(api))
    remove(api, node)
    assert api.post("/unpublish", {"volId": gone, "hostId": HOST}).status == "Success"
    assert pool(1) == [node]
    uuid = created(api, "v")
    published(api, uuid)
    snapshot = snapped(api, uuid, "s")
    stray_volume(node, "orphan")
    [row] = Export.objects.filter(replica__uuid=uuid)
    spec = wire.NamespaceSpec(generation=generation_next(), nsid=77, host_nqn=row.host_nqn)
    node_client(Backend.objects.get()).ensure_namespace("nqn.orphan", "orphan", spec)
    contents = nodes_read(Backend.objects.all(), timeout_seconds=10)[node]
    assert isinstance(contents, NodeContents)
    orphans_store(Backend.objects.get(), contents)
    grow_old()
    database = fleet.nodes[0].agent._records._database
    without = "SET spec = json_remove(spec, '$.owner') WHERE uuid <> 'orphan'"
    database.execute("UPDATE volume " + without)
    database.execute("UPDATE snapshot " + without)
    database.execute("DELETE FROM setting WHERE name = 'pool'")
    database.execute("UPDATE setting SET value = json_remove(value, '$.pool')")
    Backend.objects.update(controller_slot=9)
    return {gone: "gone", uuid: "v", snapshot: "s", "orphan": "orphan", "": ""}


@pytest.mark.parametrize("number", range(1, len(WORK) + 1))
def test_no_step_of_a_node_check_begins_after_writes_were_barred(
    api: Api,
    pool: Pool,
    fleet: SimulatedFleet,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    """Writes are barred after a number of changes. The process still has an answer in memory."""
    names = needs_everything(api, pool, fleet)
    done: list[str] = []
    send = NodeClient._call

    def sent(client: NodeClient, call: NodeCall, *rest: Any) -> object:
        answer: object = send(client, call, *rest)
        if call.method != "GET":
            name = names[call.names.get("uuid", "")]
            done.append(f"{call.method} {call.template} {name}".strip())
        return answer

    monkeypatch.setattr(NodeClient, "_call", sent)
    reason = "a probe shows that this database is older"
    monkeypatch.setattr(writes._answer, "check", lambda: reason if len(done) >= number else "")
    writes.writes_clear_cache()
    check()
    assert done == WORK[:number]
    assert "node check failed" not in caplog.text
