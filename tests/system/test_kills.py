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
SEED, ENOUGH, KILLS = 1, 20, 8


def killed_during(
    production: Production,
    fleet: SimulatedFleet,
    method: str,
    path: str,
    call: Callable[[], object],
) -> None:
    """Send a call, kill the API while a node works for it, and start the API again. Nodes are slow
    with calls of this method whose path begins so.
    """
    outcome: list[object] = []
    for node in fleet.nodes:
        node.faults.slow(SLOW_MS, method=method, path=path, times=1)

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
    for node in fleet.nodes:
        node.faults.clear()
    production.restart_api()


def test_a_change_whose_api_dies_is_finished_or_undone(
    production: Production, fleet: SimulatedFleet
) -> None:
    """Each change in turn, in one system; each leaves it empty."""
    api = pool_of(production, fleet)
    probe_host(api)
    for replicas in (1, 3):
        _create(production, fleet, replicas)
    _delete(production, fleet)
    _expand(production, fleet)
    _publish_and_unpublish(production, fleet)
    assert api.get("/tenants").body[0]["consumedCapacity"] == 0


def _create(production: Production, fleet: SimulatedFleet, replicas: int) -> None:
    api = production.api
    body = {"alias": "v", "capacity": 10, "uuid": "u", "storageClass": {"numReplicas": replicas}}
    killed_during(production, fleet, "PUT", "/v1/volumes", lambda: api.post("/volumes", body))
    assert api.get("/volumes").body == []
    eventually(lambda: not Volume.objects.exists(), seconds=SETTLED_SECONDS, what="collected")
    settled()
    assert all(node.volumes() == {} for node in fleet.nodes)
    assert api.post("/volumes", body).status == "Success"
    assert api.delete("/volumes/u").status == "Success"


def _delete(production: Production, fleet: SimulatedFleet) -> None:
    api = production.api
    uuid = created(api, "v", storageClass={"numReplicas": 3})
    killed_during(production, fleet, "DELETE", "", lambda: api.delete(f"/volumes/{uuid}"))
    assert api.get(f"/volumes/{uuid}").body == []
    eventually(lambda: not Volume.objects.exists(), seconds=SETTLED_SECONDS, what="collected")
    settled()


def _expand(production: Production, fleet: SimulatedFleet) -> None:
    api = production.api
    uuid = created(api, "v", storageClass={"numReplicas": 3})
    killed_during(
        production,
        fleet,
        "PATCH",
        "/v1/volumes",
        lambda: api.patch(f"/volumes/{uuid}", {"newCapacity": 30}),
    )
    eventually(
        lambda: volume(api, uuid)["capacity"] == 30 * GIB, seconds=SETTLED_SECONDS, what="expanded"
    )
    settled()
    assert api.delete(f"/volumes/{uuid}").status == "Success"


def _publish_and_unpublish(production: Production, fleet: SimulatedFleet) -> None:
    api = production.api
    uuid = created(api, "v", storageClass={"numReplicas": 2})
    body = {"volId": uuid, "hostId": HOST}
    killed_during(production, fleet, "PUT", "/v1/targets", lambda: api.post("/publish", body))
    eventually(
        lambda: not Export.objects.exists(),
        seconds=SETTLED_SECONDS,
        what="the half publication is undone",
    )
    assert not Publication.objects.exists()
    assert all(not node.engine.targets for node in fleet.nodes)
    published(api, uuid)
    killed_during(production, fleet, "DELETE", "/v1/targets", lambda: api.post("/unpublish", body))
    eventually(
        lambda: all(not node.engine.targets for node in fleet.nodes),
        seconds=SETTLED_SECONDS,
        what="the exports are gone",
    )
    settled()
    assert api.delete(f"/volumes/{uuid}").status == "Success"


def test_what_was_acknowledged_holds(production: Production, fleet: SimulatedFleet) -> None:
    """Clients create, publish and delete while the API is killed at random moments."""
    api = pool_of(production, fleet)
    probe_host(api)
    over = threading.Event()
    present: set[str] = set()
    gone: set[str] = set()
    clients = [
        threading.Thread(target=_client, args=(api, random.Random(n), over, present, gone))
        for n in range(4)
    ]
    for client in clients:
        client.start()
    moments = random.Random(SEED)
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
