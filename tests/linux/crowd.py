"""Many volumes on a node, made without the code under test: on record, and in the fake machine."""

from collections.abc import Iterable
from pathlib import Path

from inventory.nodes.agent.database import Database
from inventory.nodes.agent.fences import Fences, Name
from inventory.nodes.agent.records import Records
from inventory.nodes.engines.linux.engine import STATE_FILE
from inventory.nodes.engines.linux.engine_state import EngineState
from inventory.nodes.engines.linux.names import volume_name
from inventory.nodes.engines.records import VolumeEntry
from inventory.nodes.wire import ProvisioningType
from tests.linux.drives import ThinVolume
from tests.linux.machine import Machine
from tests.nodes.specs import HOST, MIB, namespace, piece, volume

CROWD = "nqn.2022-08.com.kioxia:crowd-{}"
PER_TARGET = 50
SIZE = 4 * MIB


def names(number: int) -> list[str]:
    return [f"crowd-{one}" for one in range(number)]


def record(
    folder: Path, node: str, ssd_id: str, number: int, *, exported: Iterable[int] = ()
) -> None:
    """Write so many thin volumes on the SSD to the records in the state folder of a node whose
    agent does not run. ``exported``: the numbers of those that are in targets, which its next start
    creates.
    """
    spec = volume(piece(ssd_id, SIZE, 0), provisioning_type=ProvisioningType.THIN)
    engine_state = EngineState(folder / STATE_FILE)
    with engine_state._database.transaction():
        for name in names(number):
            engine_state.put_volume(VolumeEntry(name, spec, made=1, is_whole=True))
    engine_state.close()
    database = Database(folder / "node.sqlite3", durable=False)
    records, fences = Records(database, node), Fences(database, node)
    with database.transaction():
        for name in names(number):
            records.put_volume(name, spec)
            fences.raise_to(Name(name), 1)
        for one in exported:
            nqn = CROWD.format(one // PER_TARGET)
            records.put_namespace(nqn, f"crowd-{one}", namespace(one % PER_TARGET + 1))
            records.put_host(nqn, HOST)
    database.close()


async def crowd(machine: Machine, number: int, *, exported: Iterable[int] = ()) -> None:
    """Give the machine so many volumes on the SSD ``s``, and start its agent."""
    await machine.boot()
    machine.kill()
    group = machine.drives[0].group
    assert group
    assert group.pool
    for name in map(volume_name, names(number)):
        group.volumes[name] = ThinVolume(name, SIZE, group.pool)
    record(machine.folder, "n", "s", number, exported=exported)
    await machine.reboot()
