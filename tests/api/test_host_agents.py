"""Which hosts have an agent that rebuilds replicas: probes of an agent count, not those of a driver
elsewhere.
"""

import datetime as dt

import pytest

from inventory.models import Host
from tests.api.released_clients import AGENT, DRIVER, HOST, HOST_NQN, NAME, ReleasedClient
from tests.conftest import Api

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client(api: Api) -> ReleasedClient:
    return ReleasedClient.of(api, "ADMIN")


def shown(client: ReleasedClient) -> dict[str, object]:
    [host] = client.get("hosts")
    return dict(host)


def be_silent(seconds: int) -> None:
    """Change the hosts as if their last probes had come this much earlier."""
    span = dt.timedelta(seconds=seconds)
    for host in Host.objects.all():
        host.available_until -= span
        if host.agent_until:
            host.agent_until -= span
        host.save(update_fields=["available_until", "agent_until"])


def test_the_agent_of_release_3_22_is_an_agent(client: ReleasedClient) -> None:
    client.probe(AGENT)
    host = shown(client)
    assert (host["clientType"], host["version"], host["hasAgent"]) == (
        "Openstack",
        "3.22.170",
        True,
    )


def test_the_driver_of_cinder_is_not_an_agent(client: ReleasedClient) -> None:
    client.probe(DRIVER)
    host = shown(client)
    assert (host["clientType"], host["version"]) == ("Agent", "cinder-driver-0.1")
    assert (host["hasAgent"], host["state"]) == (False, "Available")


def test_a_drivers_probe_keeps_the_values_of_the_agent(client: ReleasedClient) -> None:
    client.probe(AGENT | {"multipath": True}, duration=20)
    until = Host.objects.get().available_until
    client.probe(DRIVER | {"hostNqn": f"{HOST_NQN}-b"})
    host = shown(client)
    assert (host["clientType"], host["version"], host["hasAgent"]) == (
        "Openstack",
        "3.22.170",
        True,
    )
    assert (host["duration"], host["multipath"], host["name"]) == (20, True, NAME)
    assert host["nqn"] == f"{HOST_NQN}-b", "it attaches by this one"
    row = Host.objects.get()
    assert (row.available_until, row.probed_by_driver) == (until, True)
    client.probe(AGENT)
    assert Host.objects.get().probed_by_driver is False


def test_a_drivers_probe_counts_once_the_agent_is_silent(client: ReleasedClient) -> None:
    client.probe(AGENT)
    be_silent(91)
    assert (shown(client)["hasAgent"], shown(client)["state"]) == (False, "Unavailable")
    client.probe(DRIVER)
    host = shown(client)
    assert (host["version"], host["hasAgent"]) == ("cinder-driver-0.1", False)
    assert (host["state"], host["duration"]) == ("Available", 30)


def test_an_agent_counts_for_three_durations(client: ReleasedClient) -> None:
    client.probe(AGENT, duration=30)
    client.probe(DRIVER, duration=3000)
    be_silent(89)
    assert shown(client)["hasAgent"] is True
    be_silent(2)
    assert shown(client)["hasAgent"] is False


def test_a_driver_cannot_give_a_host_the_name_of_another(client: ReleasedClient) -> None:
    client.probe(AGENT)
    client.probe(AGENT, host="other")
    taken = {"hostId": "other", "hostNqn": HOST_NQN, "name": NAME, "duration": 30} | DRIVER
    assert client.call("POST", "host_probe", taken).status == "AlreadyExists"
    new = taken | {"hostId": "new"}
    assert client.call("POST", "host_probe", new).status == "AlreadyExists"
    assert Host.objects.filter(pk=HOST).exists()
    assert Host.objects.count() == 2
