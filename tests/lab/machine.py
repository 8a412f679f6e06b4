"""A virtual machine of the lab: Debian's kernel under QEMU, with NVMe drives of its own."""

import os
import shlex
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.image import Image, NoLab
from tests.lab.monitor import Monitor
from tests.servers import free_port

BOOT_SECONDS = 900.0
RUN_SECONDS = 300.0
SITE_PACKAGES = "/packages"
CHECKOUT = "/checkout"
AGENT_PORTS = (443, 8443)
"""Where agents listen in a machine."""
NETWORK = "10.99.0"
"""The network between the machines. QEMU's own network connects each with this computer only."""


@dataclass(frozen=True)
class Port:
    """A TCP port in a machine, and that of this computer where it is reached."""

    inside: int
    outside: int


class Failed(Exception):
    """A command in a machine failed. The text has its status and what it wrote."""


class Machine:
    """Starts at once; :meth:`await_up` returns when commands can run.

    ``number``: 1 to 9, the last part of its address and of its drives' serial numbers.
    ``drives``: bytes and block size of each NVMe drive; its serial number is ``ssd-<number>-<n>``.
    ``init``: its first process.
    """

    def __init__(
        self,
        image: Image,
        folder: Path,
        number: int,
        drives: Sequence[tuple[int, int]],
        group: int,
        *,
        init: str = "/init",
    ) -> None:
        self.name = f"lab-{number}"
        self.drives = [f"ssd-{number}-{slot}" for slot in range(1, len(drives) + 1)]
        self.address = f"{NETWORK}.{number}"
        self.agent_ports = [Port(inside, free_port()) for inside in AGENT_PORTS]
        self._ssh_port = free_port()
        self.folder = folder / self.name
        self.folder.mkdir(parents=True)
        self._key = image.key
        self._qmp = self.folder / "qmp"
        self._log = (self.folder / "qemu.log").open("wb")
        self._process = subprocess.Popen(
            self._command(image, number, drives, group, init),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def await_up(self) -> None:
        """Wait until commands can run.

        :raises NoLab: the machine does not start.
        """
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._ssh("true", seconds=30).returncode == 0:
                return
            time.sleep(0.5)
        console = (self.folder / "console").read_text(errors="replace")
        raise NoLab(f"{self.name} does not start: {self.folder}\n{console[-2000:]}")

    def run(self, *command: str, stdin: str = "", seconds: float = RUN_SECONDS) -> str:
        """What the command writes to standard output.

        :raises Failed: its status is not 0, or it takes longer.
        """
        return self.shell(shlex.join(command), stdin=stdin, seconds=seconds)

    def shell(self, script: str, *, stdin: str = "", seconds: float = RUN_SECONDS) -> str:
        """As :meth:`run`, for a line of shell."""
        try:
            done = self._ssh(script, stdin=stdin, seconds=seconds)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{self.name}: {script}: no end after {seconds} s") from error
        if done.returncode:
            raise Failed(f"{self.name}: {script}: {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def spawn(self, script: str, log: str) -> None:
        """Start a program that goes on in the machine, with its output in a file there."""
        self.shell(f"setsid sh -c {shlex.quote(script)} >{log} 2>&1 </dev/null &")

    def open(self, script: str) -> "subprocess.Popen[str]":
        """Start a program in the machine, and talk to it. What it writes to standard error is in
        the file ``errors`` of the machine's folder.
        """
        with (self.folder / "errors").open("w") as errors:
            return subprocess.Popen(
                [*self._client(), "root@127.0.0.1", script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def forward(self, inside: int, outside: int) -> None:
        """Let programs in the machine reach a port of this computer as one of their own, until the
        machine loses its power.
        """
        way = f"{inside}:127.0.0.1:{outside}"
        subprocess.run([*self._client(), "-O", "forward", "-R", way, "root@127.0.0.1"], check=True)

    def reach(self, port: int) -> None:
        """Let programs of this computer reach a port of the machine's 127.0.0.1 as one of their
        own, until the machine loses its power.
        """
        way = f"127.0.0.1:{port}:127.0.0.1:{port}"
        subprocess.run([*self._client(), "-O", "forward", "-L", way, "root@127.0.0.1"], check=True)

    def put(self, file: str, text: str) -> None:
        self.shell(f"mkdir -p $(dirname {file}) && cat >{file}", stdin=text)

    def cut_power(self) -> None:
        """Restart the machine without warning. Its drives keep what they have."""
        self._disconnect()
        self._monitor("system_reset")

    def close(self) -> None:
        self._disconnect()
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _disconnect(self) -> None:
        subprocess.run(
            [*self._client(), "-O", "exit", "root@127.0.0.1"], check=False, capture_output=True
        )

    def _monitor(self, command: str, **arguments: str) -> None:
        with Monitor(self._qmp) as monitor:
            monitor.call(command, **arguments)

    def _client(self) -> list[str]:
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "10",
            "ControlMaster": "auto",
            "ControlPath": str(self.folder / "ssh"),
            "ControlPersist": "yes",
            "LogLevel": "ERROR",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
        }
        pairs = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        return ["ssh", "-i", str(self._key), "-p", str(self._ssh_port), *pairs]

    def _ssh(
        self, script: str, *, stdin: str = "", seconds: float
    ) -> subprocess.CompletedProcess[str]:
        """ssh writes to files: the connection that it leaves behind would hold a pipe open."""
        out, err = self.folder / "stdout", self.folder / "stderr"
        with out.open("w") as stdout, err.open("w") as stderr:
            done = subprocess.run(
                [*self._client(), "root@127.0.0.1", script],
                input=stdin,
                stdout=stdout,
                stderr=stderr,
                text=True,
                timeout=seconds,
                check=False,
            )
        done.stdout, done.stderr = out.read_text(errors="replace"), err.read_text(errors="replace")
        return done

    def _command(
        self, image: Image, number: int, drives: Sequence[tuple[int, int]], group: int, init: str
    ) -> list[str]:
        append = f"root=/dev/vda rw init={init} console=ttyS0 quiet panic=5 net.ifnames=0"
        # an emulated processor needs no mitigations, and they halve its speed
        append += f" mitigations=off no_timer_check lab.name={self.name} lab.address={self.address}"
        accelerator = os.environ.get("LAB_ACCEL", "tcg,thread=multi")
        processors, memory = os.environ.get("LAB_CPUS", "2"), os.environ.get("LAB_MEM", "1024")
        ports = ",".join(
            f"hostfwd=tcp:127.0.0.1:{port.outside}-:{port.inside}"
            for port in (Port(22, self._ssh_port), *self.agent_ports)
        )
        command = f"""nice -n 2 qemu-system-x86_64 -nodefaults -display none -accel {accelerator}
            -machine q35 -cpu max -smp {processors} -m {memory}
            -kernel {image.kernel} -initrd {image.initrd}
            -serial file:{self.folder}/console -qmp unix:{self._qmp},server=on,wait=off
            -drive file={image.disk},format=raw,if=virtio,snapshot=on
            -netdev user,id=outside,{ports}
            -device virtio-net-pci,netdev=outside,mac=52:54:00:00:00:{number:02x}
            -netdev socket,id=inside,mcast=230.0.0.1:{group},localaddr=127.0.0.1
            -device virtio-net-pci,netdev=inside,mac=52:54:00:00:01:{number:02x}
            -virtfs local,path={Path.cwd()},mount_tag=checkout,security_model=none,readonly=on
            -virtfs local,path={_packages()},mount_tag=packages,security_model=none,readonly=on
            """.split()
        for slot, (size, block_size) in enumerate(drives, 1):
            serial = f"ssd-{number}-{slot}"
            file = self.folder / serial
            file.touch()
            os.truncate(file, size)
            command += [
                "-drive",
                f"file={file},format=raw,if=none,id=file-{slot},discard=unmap,cache=unsafe",
            ]
            device = f"nvme,id={serial},serial={serial},drive=file-{slot}"
            command += [
                "-device",
                f"{device},logical_block_size={block_size},physical_block_size={block_size}",
            ]
        return [*command, "-append", append]


def _packages() -> Path:
    """The folder of the Python packages that this process uses."""
    import pydantic

    return Path(pydantic.__file__).parents[1]
