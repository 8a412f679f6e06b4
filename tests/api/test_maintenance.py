"""``maintenance`` shows what would be lost if a node stopped now."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from inventory.models import Backend
from tests.api.replicas_steps import replicated, report
from tests.api.volume_steps import created, probe_host, published, volume
from tests.conftest import Api
from volumes.models import Replica
from volumes.services.node.maintenance import backend_maintenance

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


def asked(api: Api, node: str, **query: Any) -> Any:
    answer = api.get(f"/backends/{node}/maintenance", **query)
    assert answer.http == 200, answer
    return answer.body


def losses(api: Api, node: str) -> dict[str, str]:
    """Return the loss of each volume, by uuid. Checks the totals."""
    found = asked(api, node)
    lost = {row["volumeID"]: row["loses"] for row in found["volumes"]}
    kinds = list(lost.values())
    assert found["accessLost"] == kinds.count("access")
    assert found["redundancyLost"] == kinds.count("redundancy")
    assert found["safe"] is (kinds == [])
    return lost


def replica_on(api: Api, uuid: str, node: str) -> str:
    [found] = [
        str(place["uuid"])
        for place in volume(api, uuid)["location"]
        if place["backend"]["persistentID"] == node
    ]
    return found


def test_an_empty_node_is_safe(api: Api, pool: Pool) -> None:
    [node] = pool(1)
    assert asked(api, node) == {
        "persistentID": node,
        "safe": True,
        "accessLost": 0,
        "redundancyLost": 0,
        "volumes": [],
    }
    assert api.get("/backends/none/maintenance").status == "NotExists"


def test_a_volume_whose_only_replica_stops_loses_access(api: Api, pool: Pool) -> None:
    [node, *others] = pool(3)
    for other in others:
        api.put(f"/backends/{other}", {"inUse": False})
    created(api, "v", uuid="u")
    assert asked(api, node)["volumes"] == [
        {
            "volumeID": "u",
            "alias": "v",
            "tenantId": "0",
            "replicaID": "u",
            "loses": "access",
            "reason": "it has one replica, on this node",
        }
    ]
    assert asked(api, others[0])["safe"] is True
    Replica.objects.update(replica_state="Missing")
    assert asked(api, node)["safe"] is True


def test_the_loss_of_a_replicated_volume_depends_on_its_other_replica(api: Api, pool: Pool) -> None:
    """Parameters: states of both replicas, this node's first; whether the other node answers."""
    node, other = pool(2)
    uuid = replicated(api)
    here, there = replica_on(api, uuid, node), replica_on(api, uuid, other)
    expected = {
        ("Unknown", "Unknown", True): "redundancy",
        ("Unknown", "Unknown", False): "access",
        ("Available", "Available", True): "redundancy",
        ("Available", "Available", False): "access",
        ("Available", "Synchronizing", True): "access",
        ("Available", "Missing", True): "access",
        ("Available", "Unknown", True): "access",
        ("Available", "Terminating", True): "access",
        ("Synchronizing", "Available", True): "redundancy",
        ("Terminating", "Available", True): None,
        ("Terminating", "Missing", True): "access",
        ("Missing", "Available", True): None,
    }
    found = {}
    for mine, others, is_up in expected:
        Replica.objects.filter(uuid=here).update(replica_state=mine)
        Replica.objects.filter(uuid=there).update(replica_state=others)
        until = timezone.now() + dt.timedelta(minutes=5 if is_up else -5)
        Backend.objects.filter(pk=other).update(available_until=until)
        found[mine, others, is_up] = losses(api, node).get(uuid)
    assert found == expected


def test_the_states_that_hosts_report_decide_what_is_lost(api: Api, pool: Pool) -> None:
    node, other = pool(2)
    uuid = replicated(api)
    published(api, uuid, probe_host(api))
    report(api, uuid, replica_on(api, uuid, node), "Available")
    report(api, uuid, replica_on(api, uuid, other), "Synchronizing")
    [row] = asked(api, node)["volumes"]
    assert (row["loses"], row["reason"]) == (
        "access",
        "it has no other good replica on an Available node",
    )
    report(api, uuid, replica_on(api, uuid, other), "Available")
    [row] = asked(api, node)["volumes"]
    assert (row["loses"], row["reason"]) == ("redundancy", "its other replicas would stay usable")


def test_losses_are_listed_page_by_page_with_three_queries(api: Api, pool: Pool) -> None:
    [node] = pool(1)
    for number in range(5):
        created(api, f"v{number}", uuid=f"u{number}")
    first = asked(api, node, limit=2)
    uuids = [row["volumeID"] for row in first["volumes"]]
    assert (uuids, first["accessLost"]) == (["u0", "u1"], 5)
    second = asked(api, node, limit=2, marker="u1")
    assert [row["volumeID"] for row in second["volumes"]] == ["u2", "u3"]
    with CaptureQueriesContext(connection) as queries:
        assert len(backend_maintenance(persistent_id=node).replicas) == 5
    assert len(queries) == 3


def test_roles_without_the_right_are_refused(api: Api, pool: Pool) -> None:
    [node] = pool(1)
    path = f"/backends/{node}/maintenance"
    assert api.as_role("MONITOR").get(path).http == 200
    assert api.as_role("MONITOR", tenant="0").get(path).http == 403
    assert api.as_role("STORAGE").get(path).http == 403
