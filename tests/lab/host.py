"""The kernel of a machine as a host: NVMe-oF connections, disks and RAID arrays."""

from collections.abc import Sequence

from inventory.nodes.engines.names import namespace_uuid
from inventory.nodes.portal_transports import TRTYPES
from inventory.nodes.wire import Portal
from tests.lab.machine import Machine

APPEAR_SECONDS = 120.0
SYNC_SECONDS = 600.0
FAIL_SECONDS = 2
"""After this time without its node, I/O to a disk fails; the RAID goes on with the other."""
MIB = 2**20
RAID = "/dev/md/lab"


class LabHost:
    """``nqn``: of this host."""

    def __init__(self, machine: Machine, nqn: str) -> None:
        self._machine = machine
        self._nqn = nqn

    def connect(self, portal: Portal, target: str) -> None:
        """Connect to a target for good: a lost connection is tried again until it is back."""
        options = f"-t {TRTYPES[portal.transport]} -a {portal.ip} -s {portal.port}"
        options += f" -n {target} -q {self._nqn} -l -1"
        self._run(f"nvme connect {options} -c 2")
        limits = "/sys/class/nvme/nvme*/fast_io_fail_tmo"  # nvme-cli 2.3 has no option for it
        self._run(f"for limit in $(ls {limits}); do echo {FAIL_SECONDS} > $limit; done")

    def disconnect(self) -> None:
        self._run("nvme disconnect-all")

    def disk(self, replica: str) -> str:
        """The path of the disk of a replica or volume, when it has appeared."""
        uuid = namespace_uuid(replica)
        # with native multipath there is also a hidden device for each path: nvme1c1n1
        name = f"grep -ls {uuid} /sys/block/nvme*/uuid | cut -d / -f 4 | grep -v c"
        found = self._run(
            f'until d=$({name}); [ "$d" ]; do sleep 0.2; done; echo $d', APPEAR_SECONDS
        )
        return f"/dev/{found.strip()}"

    def await_size(self, disk: str, size: int) -> None:
        self._run(
            f"until [ $(blockdev --getsize64 {disk}) = {size} ]; do sleep 0.2; done", APPEAR_SECONDS
        )

    def write(self, disk: str, *, mib: int, at_mib: int = 0) -> str:
        """Write random bytes; return their checksum."""
        there = f"of={disk} bs=1M count={mib} seek={at_mib} oflag=direct status=none"
        self._run(f"dd if=/dev/urandom {there}")
        return self.checksum(disk, mib=mib, at_mib=at_mib)

    def checksum(self, disk: str, *, mib: int, at_mib: int = 0) -> str:
        """The checksum of a range, read past the cache."""
        there = f"if={disk} bs=1M count={mib} skip={at_mib} iflag=direct status=none"
        return self._run(f"set -o pipefail; dd {there} | sha256sum").split()[0]

    def make_raid(self, disks: Sequence[str]) -> None:
        """New volumes read as zeros, so there is nothing to synchronize at first."""
        options = "--run --level=1 --metadata=1.2 --assume-clean --bitmap=internal"
        self._run(f"mdadm --create {RAID} {options} --raid-devices={len(disks)} {' '.join(disks)}")

    def await_raid(self, disks: int) -> None:
        """Wait until this many disks of the array are in sync."""
        in_sync = f"mdadm --detail {RAID} | grep -c 'active sync'"
        self._run(f"until [ $({in_sync}) = {disks} ]; do sleep 1; done", SYNC_SECONDS)

    def add_again(self, disk: str) -> None:
        """Give the array a disk back that failed, as soon as it can be read."""
        read = f"dd if={disk} of=/dev/null bs=4096 count=1 iflag=direct status=none"
        self._run(f"until {read}; do sleep 0.5; done", APPEAR_SECONDS)
        self._run(f"mdadm {RAID} --remove failed; mdadm {RAID} --re-add {disk}", SYNC_SECONDS)

    def expand_raid(self) -> None:
        self._run(f"mdadm --grow {RAID} --size=max --assume-clean", SYNC_SECONDS)

    def stop_raid(self) -> None:
        self._run(f"mdadm --stop {RAID}")

    def _run(self, script: str, seconds: float = SYNC_SECONDS) -> str:
        return self._machine.shell(script, seconds=seconds)
