"""The expiry of certificates is known in advance."""

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from inventory.health import CERTIFICATE_NOTICE
from inventory.models import Backend, Pool
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.services.node.certificate_ends import certificates_check
from provisioner import certificates
from provisioner.certificates import Authority
from provisioner.common import clock
from tests.api.metrics_steps import samples
from tests.conftest import Api

pytestmark = pytest.mark.django_db(transaction=True)
METRIC = "provisioner_certificate_end_timestamp_seconds"
AddNodes = Callable[[int], list[str]]


def ends(api: Api) -> dict[str, dt.datetime]:
    """Return the expiry of certificates from the metrics, by the name of the node or setting."""
    found = samples(api).get(METRIC, [])
    return {
        labels["name"] or labels["certificate"]: dt.datetime.fromtimestamp(value, dt.UTC)
        for labels, value in found
    }


def days_left(at: dt.datetime) -> float:
    return (at - clock.now()) / dt.timedelta(days=1)


@pytest.fixture(autouse=True)
def pool_row_as_new() -> Iterator[None]:
    """Reset the row of the pool, because it survives a test."""
    yield
    Pool.objects.update(certificate_ends_at=None)


@pytest.fixture
def short_lived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedFleet]:
    """A node whose certificate expires in 13 days."""
    monkeypatch.setattr(certificates, "LEAF_LIFE", dt.timedelta(days=13))
    authority = Authority.of(tmp_path)
    certificate, key = authority.node("node", ["127.0.0.1"])
    with SimulatedFleet(1, certificate=certificate, key=key) as fleet:
        yield fleet


def test_the_end_of_each_nodes_certificate_is_a_metric(api: Api, pool: AddNodes) -> None:
    pool(2)
    assert not {"node-1", "node-2"} & set(ends(api))
    certificates_check()
    found = ends(api)
    assert 390 < days_left(found["node-1"]) < 398
    assert 390 < days_left(found["node-2"]) < 398


def test_the_files_of_the_process_are_metrics(api: Api, pool: AddNodes) -> None:
    found = ends(api)
    assert 390 < days_left(found["NODE_CERTIFICATE"]) < 398
    assert days_left(found["NODE_CA"]) > 3600


def test_a_file_that_is_gone_does_not_break_the_metrics(
    api: Api, pool: AddNodes, settings: Settings, tmp_path: Path
) -> None:
    changed = {"node_ca": tmp_path / "gone.pem"}
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update=changed)
    assert set(ends(api)) == {"NODE_CERTIFICATE"}


def test_the_end_of_the_certificate_at_public_url_is_a_metric(
    api: Api, pool: AddNodes, fleet: SimulatedFleet, settings: Settings
) -> None:
    node = fleet.nodes[0]
    url = f"https://{node.address}:{node.port}"
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"public_url": url})
    certificates_check()
    assert 390 < days_left(ends(api)["PUBLIC_URL"]) < 398


def test_a_certificate_that_ends_soon_is_in_the_health_of_its_node(
    api: Api, pool: AddNodes, short_lived: SimulatedFleet
) -> None:
    """Its certificate is also of another CA, but its expiry is read in any case."""
    [first] = pool(1)
    certificates_check()
    assert "healthReason" not in api.get(f"/backends/{first}").body[0]
    node = short_lived.nodes[0]
    Backend.objects.get(pk=first).addresses.update(address=node.address, port=node.port)
    Backend.objects.filter(pk=first).update(mgmt_port=node.port)
    certificates_check()
    assert days_left(ends(api)["node-1"]) < CERTIFICATE_NOTICE.days
    reason = api.get(f"/backends/{first}").body[0]["healthReason"]
    assert reason.startswith("its certificate expires at ")
    assert reason.endswith(": renew it")


def test_the_stored_end_stays_while_a_server_does_not_answer(
    api: Api, pool: AddNodes, fleet: SimulatedFleet, settings: Settings
) -> None:
    _, second = pool(2)
    certificates_check()
    known = ends(api)
    fleet.nodes[0].faults.go_down()
    url = f"https://{fleet.nodes[0].address}:{fleet.nodes[0].port}"
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"public_url": url})
    Backend.objects.filter(pk=second).update(certificate_ends_at=None)
    certificates_check()
    assert ends(api) == known
    assert Pool.objects.get().certificate_ends_at is None
