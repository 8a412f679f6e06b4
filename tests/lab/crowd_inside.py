"""Runs in a machine whose agent does not run: ``python3 -m tests.lab.crowd_inside CONFIG NUMBER``
gives the node so many exported volumes on its first SSD. ``lvcreate`` would take an hour.
"""

import fcntl
import struct
import subprocess
import sys
import uuid
from pathlib import Path

from inventory.nodes.engines.linux.names import POOL, mapped_name, vg_name, volume_name
from inventory.nodes.engines.linux.node_config import read_config
from tests.linux.crowd import names, record

DM_TARGET_MSG = (3 << 30) | (312 << 16) | (0xFD << 8) | 14
FIRST_DEVICE = 1000
VOLUME = """
{name} {{
id = "{id}"
status = ["READ", "WRITE", "VISIBLE"]
flags = []
creation_time = 1
creation_host = "lab"
segment_count = 1
segment1 {{
start_extent = 0
extent_count = 1
type = "thin"
thin_pool = "pool"
transaction_id = 0
device_id = {device}
}}
}}
"""


def create_thin(pool: str, device: int) -> None:
    """Add a thin volume to the active pool, as LVM does."""
    message = struct.pack("=Q", 0) + f"create_thin {device}".encode() + b"\0"
    size = 312 + len(message)
    head = struct.pack(
        "=3I7I Q128s129s7x", 4, 0, 0, size, 312, 0, 0, 0, 0, 0, 0, pool.encode(), b""
    )
    with Path("/dev/mapper/control").open("rb") as control:
        fcntl.ioctl(control, DM_TARGET_MSG, bytearray(head + message))


def main(file: str, number: int) -> None:
    config = read_config(Path(file))
    ssd = config.linux.ssds[0].id
    vg, backup = vg_name(ssd), Path("/run/vg")
    there = [one.device for one in config.linux.ssds]
    volumes = ""
    for device, name in enumerate(names(number), FIRST_DEVICE):
        create_thin(f"{mapped_name(vg, POOL)}-tpool", device)
        digits = uuid.uuid4().hex
        groups = [digits[:6], *(digits[at : at + 4] for at in range(6, 26, 4)), digits[26:]]
        volumes += VOLUME.format(name=volume_name(name), id="-".join(groups), device=device)
    run("vgchange", "--activate", "n", vg)
    run("vgcfgbackup", "--file", str(backup), vg)
    text = backup.read_text()
    mark = "logical_volumes {\n"
    assert text.count(mark) == 1, there
    backup.write_text(text.replace(mark, mark + volumes))
    run("vgcfgrestore", "--force", "--yes", "--file", str(backup), vg)
    record(
        config.state_folder,
        config.identity.persistent_id,
        ssd,
        number,
        exported=range(number),
    )


def run(*command: str) -> None:
    subprocess.run(["lvm", *command], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
