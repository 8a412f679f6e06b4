"""The commands of the pages that make a laptop or a server a Linux storage node, on Debian with
systemd: README.md, and docs/how-to/add-a-linux-node.md with the unit of ``deploy/systemd``.

The demo that they need runs on this computer: on an emulated processor it would take too long.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests import pages
from tests.lab.conftest import MakeMachine
from tests.lab.host import LabHost
from tests.lab.machine import CHECKOUT, SITE_PACKAGES, Machine
from tests.nodes.specs import GIB, HOST
from tests.servers import free_port
from tests.system.standalone_steps import Standalone

pytestmark = pytest.mark.timeout(3600)

CODE = "/opt/provisioner"
PAGE = "docs/how-to/add-a-linux-node.md"
UNIT = "provisioner-linux-node-agent"
BLOCK_SECONDS = 900.0
INSTALL = f"""
mkdir -p {CODE} /etc/systemd/system/{UNIT}.service.d
ln -s {CHECKOUT}/* {CODE}/
python3 -m venv --without-pip {CODE}/.venv
echo {SITE_PACKAGES} >$(echo {CODE}/.venv/lib/python3*/site-packages)/lab.pth
printf '[Unit]\\nAfter=lab.service\\n' >/etc/systemd/system/{UNIT}.service.d/lab.conf
cat >/usr/local/bin/provisionerctl <<'END'
#!/bin/sh
PYTHONPATH={CODE} exec {CODE}/.venv/bin/python -m provisionerctl "$@"
END
chmod +x /usr/local/bin/provisionerctl
"""
"""The code and its packages are those of this computer: ``pip`` and ``pipx`` need a network."""
DRIVES = ("S4YNNE0N801309", "S4YNNE0N801310")
DRIVE = "/dev/disk/by-id/nvme-SAMSUNG_MZQL2_{}"
LAB_DRIVE = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_ssd-1-{}"
PORT = 8443
"""Where agents listen, on 127.0.0.1 of the machine. The demo reaches them at the same address."""


@dataclass
class Lab:
    """``shell`` runs blocks of pages as root, who types them in the folder of the code."""

    machine: Machine

    def shell(self, *blocks: str, changed: dict[str, str]) -> str:
        script = "\n".join(blocks)
        for shown, here in changed.items():
            assert shown in script, shown
            script = script.replace(shown, here)
        start = f"set -euo pipefail; export HOME=/root LC_ALL=C.UTF-8; cd {CODE}\n"
        return self.machine.shell("bash -s 2>&1", stdin=start + script, seconds=BLOCK_SECONDS)


@pytest.fixture(scope="module")
def lab(make_machine: MakeMachine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    machine = make_machine(2 * [(128 * GIB, 4096)], init="/lib/systemd/systemd")
    folder, port = tmp_path_factory.mktemp("demo"), free_port()
    demo = Standalone(folder / "data", port)
    try:
        demo.wait_for("reset:")
        [password] = re.findall(r"Password +(\S+)", demo.output)
        machine.await_up()
        machine.shell(INSTALL)
        machine.forward(30100, port)
        machine.reach(PORT)
        for name in ("ca.pem", "node.pem", "node.key", "ssdtoolbox.pem"):
            machine.put(f"{CODE}/.data/tls/{name}", (folder / "data/tls" / name).read_text())
        two_minutes = pages.of("demo", "README.md")[0].text
        login = two_minutes[: two_minutes.index("provisionerctl status")]
        lab = Lab(machine)
        lab.shell(login, changed={"PASSWORD=...": f"PASSWORD={password}"})
        yield lab
    finally:
        demo.process.terminate()
        demo.process.wait(60)


def test_a_laptop_becomes_a_node_and_its_own_host(lab: Lab) -> None:
    """The agent goes on when the shell of README.md ends: it is in the background."""
    readme, down = pages.of("laptop")
    said = lab.shell(
        readme.text,
        changed={"laptop-node.toml &": "laptop-node.toml >/var/log/agent 2>&1 &"},
    )
    assert "Volume real is published to laptop." in said
    assert re.search(r"(?m)^/dev/nvme\S+ .* 1\.07 +GB", said), said
    disk = re.findall(r"(?m)^(/dev/nvme\S+n1) .* 1\.07 +GB", said)[0]
    lab.machine.shell(f"mkfs.ext4 -q {disk} && mount {disk} /mnt && cp -r /etc /mnt && umount /mnt")
    lab.machine.shell(f"fsck.ext4 -fn {disk}")
    lab.shell(down.text, changed={})
    assert lab.machine.shell("losetup --list") == ""
    assert "provisioner-loop" not in lab.machine.shell("vgs; ls /var/lib; ls /dev/mapper")


def test_a_server_becomes_a_node_under_systemd(lab: Lab) -> None:
    """It is back after a power failure, with its volume and export."""
    machine = lab.machine
    install, format_one, start, add, connect = (block.text for block in pages.of("linux", PAGE))
    server = next(
        block for block in pages.blocks() if (block.page, block.language) == (PAGE, "toml")
    )
    file = server.text.replace("10.0.0.11", "127.0.0.1").replace("10.1.0.11", machine.address)
    file = file.replace("port = 443\n", f"port = {PORT}\n")
    for slot, name in enumerate(DRIVES, 1):
        file = file.replace(DRIVE.format(name), LAB_DRIVE.format(slot))
    machine.put("/etc/provisioner/node.toml", file)
    machine.shell(
        f"mkdir -p /etc/provisioner/tls; cd {CODE}/.data/tls; cp ca.pem /etc/provisioner/tls"
    )
    for name in ("node.pem", "node.key"):
        machine.shell(f"cp {CODE}/.data/tls/{name} /etc/provisioner/tls/{name.replace('.', '-1.')}")
    machine.shell(f"mkfs.ext4 -q {LAB_DRIVE.format(1)}")
    lab.shell(install, changed={})

    machine.spawn(format_one, "/var/log/format")
    machine.shell("until grep -q 'is up' /var/log/format; do sleep 1; done")
    machine.shell(
        "pkill -INT -f '[n]ode_agent --config'; while pgrep -f '[n]ode_agent --c'; do sleep 1; done"
    )
    said = lab.shell(start, changed={"journalctl -fu": "sleep 60; journalctl --no-pager -u"})
    assert "is up" in said, said

    lab.shell(add, changed={"nodes add 10.0.0.11": f"nodes add 127.0.0.1 --port {PORT}"})
    lab.shell(connect, changed={"10.1.0.11": machine.address})
    host = LabHost(machine, HOST)
    written = host.write(disk(machine), mib=8)
    machine.shell(f"systemctl reload {UNIT}; systemctl restart {UNIT}; sync")
    assert host.checksum(disk(machine), mib=8) == written

    machine.cut_power()
    machine.await_up()
    lab.shell(
        f"until journalctl -b --no-pager -u {UNIT} | grep 'is up'; do sleep 1; done", changed={}
    )
    lab.shell(connect, changed={"10.1.0.11": machine.address})
    assert host.checksum(disk(machine), mib=8) == written


def disk(machine: Machine) -> str:
    """The path of the volume's disk. The kernel may number its drives anew at each start."""
    found = f"lsblk -bndo PATH,SIZE | awk '$2 == {100 * GIB} && /nvme/ {{print $1}}'"
    return machine.shell(found).strip()
