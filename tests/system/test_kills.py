"""kill -9 of the whole API during its work: afterwards all data agrees, and nothing is lost."""

import random
import threading
import time
from collections.abc import Callable

import pytest
import urllib3

from inventory.nodes.engines.simulated import SimulatedFleet
from tests.api.volume_steps import GIB, HOST, created, probe_host, published, volume
from tests.conftest import Api
from tests.system.conftest import Production
from tests.system.kills_steps import SETTLED_SECONDS, pool_of, settled
from tests.waiting import eventually
from volumes.models import Export, Publication, Volume

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]
SLOW_MS = 3000
ENOUGH, KILLS = 12, 5


def killed_during(
    production: Production, fleet: SimulatedFleet, call: Callable[[], object]
) -> None:
    """Send a call, kill the API as soon as a slow node works for it, and start the API again."""
    outcome: list[object] = []

    def struck() -> int:
        return sum(node.faults.struck for node in fleet.nodes)

    before = struck()

    def run() -> None:
        try:
            outcome.append(call())
        except urllib3.exceptions.HTTPError as error:
            outcome.append(error)

    caller = threading.Thread(target=run)
    caller.start()
    eventually(lambda: struck() > before, seconds=SETTLED_SECONDS, what="no node is asked")
    production.server.kill()
    caller.join()
    assert isinstance(outcome[0], urllib3.exceptions.HTTPError), "the call ended before the kill"
    production.restart_api()


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_create_interrupted_by_kill_is_finished_or_undone(
    production: Production, fleet: SimulatedFleet, replicas: int
) -> None:
    api = pool_of(production, fleet)
    for node in fleet.nodes:
        node.faults.slow(SLOW_MS, method="PUT", path="/v1/volumes", times=1)
    body = {"alias": "v", "capacity": 10, "uuid": "u", "storageClass": {"numReplicas": replicas}}
    killed_during(production, fleet, lambda: api.post("/volumes", body))
    assert api.get("/volumes").body == []
    eventually(lambda: not Volume.objects.exists(), seconds=SETTLED_SECONDS, what="collected")
    settled()
    assert all(node.volumes() == {} for node in fleet.nodes)
    assert api.post("/volumes", body).status == "Success"


def test_a_delete_interrupted_by_kill_is_finished(
    production: Production, fleet: SimulatedFleet
) -> None:
    api = pool_of(production, fleet)
    uuid = created(api, "v", storageClass={"numReplicas": 3})
    for node in fleet.nodes:
        node.faults.slow(SLOW_MS, method="DELETE", times=1)
    killed_during(production, fleet, lambda: api.delete(f"/volumes/{uuid}"))
    assert api.get(f"/volumes/{uuid}").body == []
    eventually(lambda: not Volume.objects.exists(), seconds=SETTLED_SECONDS, what="collected")
    settled()
    assert api.get("/tenants").body[0]["consumedCapacity"] == 0


def test_an_expansion_interrupted_by_kill_is_finished(
    production: Production, fleet: SimulatedFleet
) -> None:
    api = pool_of(production, fleet)
    uuid = created(api, "v", storageClass={"numReplicas": 3})
    for node in fleet.nodes:
        node.faults.slow(SLOW_MS, method="PATCH", path="/v1/volumes", times=1)
    killed_during(production, fleet, lambda: api.patch(f"/volumes/{uuid}", {"newCapacity": 30}))
    eventually(
        lambda: volume(api, uuid)["capacity"] == 30 * GIB, seconds=SETTLED_SECONDS, what="expanded"
    )
    settled()


def test_an_interrupted_publish_is_undone_and_an_unpublish_finished(
    production: Production, fleet: SimulatedFleet
) -> None:
    api = pool_of(production, fleet)
    uuid = created(api, "v", storageClass={"numReplicas": 2})
    probe_host(api)
    body = {"volId": uuid, "hostId": HOST}
    for node in fleet.nodes:
        node.faults.slow(SLOW_MS, method="PUT", path="/v1/targets", times=1)
    killed_during(production, fleet, lambda: api.post("/publish", body))
    eventually(
        lambda: not Export.objects.exists(),
        seconds=SETTLED_SECONDS,
        what="the half publication is undone",
    )
    assert not Publication.objects.exists()
    assert all(not node.engine.targets for node in fleet.nodes)
    published(api, uuid)
    for node in fleet.nodes:
        node.faults.slow(SLOW_MS, method="DELETE", path="/v1/targets", times=1)
    killed_during(production, fleet, lambda: api.post("/unpublish", body))
    eventually(
        lambda: all(not node.engine.targets for node in fleet.nodes),
        seconds=SETTLED_SECONDS,
        what="the exports are gone",
    )
    settled()


@pytest.mark.parametrize("seed", [1, 2])
def test_acknowledged_changes_survive_random_kills(
    production: Production, fleet: SimulatedFleet, seed: int
) -> None:
    """Clients create, publish and delete while the API is killed at random moments."""
    api = pool_of(production, fleet)
    probe_host(api)
    over = threading.Event()
    present: set[str] = set()
    gone: set[str] = set()
    clients = [
        threading.Thread(
            target=_client, args=(api, random.Random(seed * 10 + n), over, present, gone)
        )
        for n in range(4)
    ]
    for client in clients:
        client.start()
    moments = random.Random(seed)
    kills = 0
    while kills < KILLS or len(present) + len(gone) < ENOUGH:
        time.sleep(moments.uniform(0.5, 2.0))
        production.server.kill()
        production.restart_api()
        kills += 1
    over.set()
    for client in clients:
        client.join()
    settled()
    shown = {row["uuid"] for row in api.get("/volumes").body}
    assert present <= shown
    assert not gone & shown


def _client(
    api: Api, chance: random.Random, over: threading.Event, present: set[str], gone: set[str]
) -> None:
    """Create and delete volumes. ``present`` and ``gone`` hold the acknowledged volumes. If a call
    gets no answer, the state of its volume is unknown, so the volume is in neither.
    """
    mine: list[str] = []
    while not over.is_set():
        try:
            if len(mine) < 3:
                uuid = str(chance.getrandbits(64))
                body = {"alias": uuid, "capacity": 10, "uuid": uuid, "provisioningType": "THIN"}
                body |= {"storageClass": {"numReplicas": chance.choice([1, 2, 3])}}
                assert api.post("/volumes", body).status == "Success"
                mine.append(uuid)
                present.add(uuid)
                api.post("/publish", {"volId": uuid, "hostId": HOST})
            else:
                uuid = mine.pop(0)
                api.post("/unpublish", {"volId": uuid, "hostId": HOST})
                present.discard(uuid)
                if api.delete(f"/volumes/{uuid}").status == "Success":
                    gone.add(uuid)
        except urllib3.exceptions.HTTPError:
            time.sleep(0.2)
