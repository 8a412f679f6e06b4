"""Many volumes on a node, created without the code under test, in the fake target and in the
records.
"""

import uuid as uuids
from collections.abc import Iterable

from inventory.nodes.agent.database import Database
from inventory.nodes.agent.fences import Fences, Name
from inventory.nodes.agent.records import Records
from inventory.nodes.engines.records import VolumeEntry
from inventory.nodes.engines.spdk.engine import STATE_FILE
from inventory.nodes.engines.spdk.engine_state import EngineState
from inventory.nodes.wire import ProvisioningType
from tests.nodes.specs import HOST, MIB, namespace, piece, volume
from tests.spdk.machine import Machine
from tests.spdk.running import RunningTarget
from tests.spdk.store import Blob
from tests.spdk.target import Target

CROWD = "nqn.2022-08.com.kioxia:crowd-{}"
PER_TARGET = 50
SIZE = 4 * MIB


async def crowd(
    machine: Machine, target: RunningTarget, number: int, *, exported: Iterable[int] = ()
) -> None:
    """Create this number of thin volumes on the SSD ``s`` of the machine, and start its agent.
    ``exported``: the numbers of volumes in targets, which the start of the agent creates.
    """
    await machine.boot()
    machine.kill()
    target.run(lambda fake: _put_lvols(fake, number))
    names = [f"crowd-{one}" for one in range(number)]
    spec = volume(piece("s", SIZE, 0), provisioning_type=ProvisioningType.THIN)
    engine_state = EngineState(machine.folder / STATE_FILE)
    with engine_state._database.transaction():
        for name in names:
            engine_state.put_volume(VolumeEntry(name, spec, made=1, is_whole=True))
    engine_state.close()
    database = Database(machine.folder / "node.sqlite3", durable=False)
    records, fences = Records(database, "n"), Fences(database, "n")
    with database.transaction():
        for name in names:
            records.put_volume(name, spec)
            fences.raise_to(Name(name), 1)
        for one in exported:
            nqn = CROWD.format(one // PER_TARGET)
            records.put_namespace(nqn, f"crowd-{one}", namespace(one % PER_TARGET + 1))
            records.put_host(nqn, HOST)
    database.close()
    machine.boots = 0
    await machine.boot()


def _put_lvols(target: Target, number: int) -> None:
    [(base, store)] = [one for one in target.lvstores.open.values() if one[1].name == "ssd-s"]
    for one in range(number):
        blob = Blob(str(uuids.uuid4()), f"v-crowd-{one}", SIZE, True, "unmap")
        store.blobs[blob.uuid] = blob
        target.lvstores.show(base, store, blob)
    store.save()
