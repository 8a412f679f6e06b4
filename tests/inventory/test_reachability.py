"""A node that cannot report to PUBLIC_URL is not added to the pool."""

import pytest
from pytest_django.fixtures import Settings

from inventory.services.node.checks import NodeNotAvailable, check_reaches_us


def public(settings: Settings, url: str) -> None:
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"public_url": url})


@pytest.mark.parametrize(
    ("url", "address", "reaches"),
    [
        ("https://127.0.0.1", "10.0.0.11", False),
        ("https://localhost:443", "10.0.0.11", False),
        ("https://[::1]:443", "fd00::11", False),
        ("https://0.0.0.0", "10.0.0.11", False),
        ("", "node-1.example.com", False),
        ("", "127.0.0.3", True),
        ("https://localhost", "::1", True),
        ("https://10.0.0.1", "10.0.0.11", True),
        ("https://10.0.0.1", "127.0.0.1", True),
        ("https://storage.example.com", "10.0.0.11", True),
    ],
)
def test_public_url_must_be_reachable_from_the_node(
    settings: Settings, url: str, address: str, reaches: bool
) -> None:
    public(settings, url)
    if reaches:
        check_reaches_us([address])
        return
    with pytest.raises(NodeNotAvailable) as refused:
        check_reaches_us([address])
    assert str(refused.value).startswith(f"the storage node at {address} cannot reach https://")
