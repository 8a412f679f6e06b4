"""The API with nodes on SPDK: requests that these nodes cannot fulfil are refused before anything
changes.
"""

from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings

from inventory.services.node import clients as node_clients
from tests.api.snapshot_steps import consumed
from tests.api.volume_steps import created, probe_host, published, volume
from tests.conftest import Api
from tests.nodes.certificates import TOKEN, TestCa
from tests.spdk.fixtures import MakeNode
from tests.spdk.nodes import SpdkNode
from tests.spdk.running import RunningTarget
from volumes.models import SubVolume, Volume

pytestmark = pytest.mark.django_db(transaction=True)
SPANNED, WHOLE = 20, 5
"""GiB; an SSD has 16."""


@pytest.fixture
def node(
    api: Api, make_node: MakeNode, targets: list[RunningTarget], ca: TestCa, settings: Settings
) -> Iterator[SpdkNode]:
    """The only node of the pool. A host has sent a probe."""
    found = make_node(1, targets[0].socket)
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"node_ca": ca.file})
    node_clients.node_transport.cache_clear()
    address = {"mgmtIPs": [found.address], "mgmtPort": found.port, "nodeToken": TOKEN}
    assert api.post("/backends", address).status == "Success"
    probe_host(api)
    yield found
    node_clients.node_transport.cache_clear()


def unpublish(api: Api, uuid: str) -> None:
    assert api.post("/unpublish", {"volId": uuid}).status == "Success"


def sizes(uuid: str) -> tuple[int, int]:
    """Return the stored sizes in bytes, of the volume and of the claims of its pieces."""
    pieces = SubVolume.objects.filter(replica__volume__uuid=uuid)
    return Volume.objects.get(uuid=uuid).claimed_bytes, sum(p.claimed_bytes for p in pieces)


def test_a_published_volume_that_spans_ssds_is_not_expanded(api: Api, node: SpdkNode) -> None:
    uuid = created(api, "v", capacity=SPANNED, storageClass={"allowSpan": True})
    published(api, uuid)
    before = volume(api, uuid)["capacity"], consumed(api), sizes(uuid)
    answer = api.patch(f"/volumes/{uuid}", {"newCapacity": SPANNED + 1})
    assert answer.status == "NotAvailable"
    assert "spans 2 SSDs" in answer.description
    assert "unpublish it first" in answer.description
    assert (volume(api, uuid)["capacity"], consumed(api), sizes(uuid)) == before
    assert "waitsFor" not in volume(api, uuid)
    unpublish(api, uuid)
    assert api.patch(f"/volumes/{uuid}", {"newCapacity": SPANNED + 1}).status == "Success"
    published(api, uuid)


def test_a_published_volume_on_one_ssd_is_expanded(api: Api, node: SpdkNode) -> None:
    uuid = created(api, "v", capacity=WHOLE, storageClass={"allowSpan": True})
    published(api, uuid)
    assert api.patch(f"/volumes/{uuid}", {"newCapacity": WHOLE + 1}).status == "Success"


def test_a_spanned_volume_is_not_published_while_it_is_expanded(api: Api, node: SpdkNode) -> None:
    """The node could finish the expansion only after the volume is unpublished."""
    uuid = created(api, "v", capacity=SPANNED, storageClass={"allowSpan": True})
    node.kill()
    answer = api.patch(f"/volumes/{uuid}", {"newCapacity": SPANNED + 1})
    assert answer.status == "NotAvailable"
    node.start()
    body = {"volId": uuid, "hostId": "6d4a8383-c09f-4f91-836d-5ed192ca6f64"}
    answer = api.post("/publish", body)
    assert answer.status == "PublishFailed"
    assert "is being expanded" in answer.description
    assert api.patch(f"/volumes/{uuid}", {"newCapacity": SPANNED + 1}).status == "Success"
    assert api.post("/publish", body).status == "Success"
