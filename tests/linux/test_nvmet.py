"""The fake kernel's target refuses what configfs refuses."""

import errno

import pytest

from tests.linux.network import Network
from tests.linux.nvmet import FakeNvmet
from tests.nodes.specs import HOST, TARGET

ADDRESS = {"trtype": "tcp", "adrfam": "ipv4", "traddr": "127.0.0.1", "trsvcid": "4420"}
SUBSYSTEM, PORT, HOST_FOLDER = ["subsystems", TARGET], ["ports", "1"], ["hosts", HOST]


@pytest.fixture
def nvmet() -> FakeNvmet:
    """A target with a host and a port, which are not linked."""
    nvmet = FakeNvmet(Network(), lambda path: None, {"127.0.0.1"}, set())
    for folder in (SUBSYSTEM, PORT, HOST_FOLDER):
        nvmet.make(folder)
    for name, value in ADDRESS.items():
        nvmet.write([*PORT, f"addr_{name}"], value)
    return nvmet


def refused(nvmet: FakeNvmet, folder: list[str], number: int) -> None:
    with pytest.raises(OSError, match=folder[-1]) as caught:
        nvmet.remove(folder)
    assert caught.value.errno == number, caught.value


def test_a_folder_that_a_link_leads_to_is_busy(nvmet: FakeNvmet) -> None:
    nvmet.link(HOST_FOLDER, [*SUBSYSTEM, "allowed_hosts", HOST])
    nvmet.link(SUBSYSTEM, [*PORT, "subsystems", TARGET])
    refused(nvmet, HOST_FOLDER, errno.EBUSY)
    refused(nvmet, SUBSYSTEM, errno.EBUSY)


def test_a_folder_with_folders_or_links_is_not_empty(nvmet: FakeNvmet) -> None:
    namespace, allowed = [*SUBSYSTEM, "namespaces", "1"], [*SUBSYSTEM, "allowed_hosts", HOST]
    nvmet.make(namespace)
    refused(nvmet, SUBSYSTEM, errno.ENOTEMPTY)
    nvmet.remove(namespace)
    nvmet.link(HOST_FOLDER, allowed)
    refused(nvmet, SUBSYSTEM, errno.ENOTEMPTY)
    nvmet.link(SUBSYSTEM, [*PORT, "subsystems", TARGET])
    refused(nvmet, PORT, errno.ENOTEMPTY)
    nvmet.unlink([*PORT, "subsystems", TARGET])
    nvmet.unlink(allowed)
    for folder in (SUBSYSTEM, PORT, HOST_FOLDER):
        nvmet.remove(folder)
