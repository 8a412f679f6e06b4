"""Runs in a machine: several agents in one process, so that a restart of one costs no start of Python.

``python3 -m tests.lab.agents CONFIG...`` reads lines from standard input and answers each with
``ok`` or the error: ``start N`` (agent of the Nth file), ``kill N`` (without finishing any call),
``new N`` (start it with the records that it had after its
first start), ``clear`` (kill all, remove all targets and volumes).
"""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

from inventory.nodes.engines.node_config import NodeConfig
from inventory.nodes.engines.read_config import read_config

NVMET = Path("/sys/kernel/config/nvmet")


class LabAgent:
    """An agent of this machine. What its first start made on its drives, and its records then, are
    what ``new`` goes back to.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        config = self._config()
        self._state = config.state_folder
        self._saved = self._state.with_name(f"{self._state.name}-new")
        self._runs = False

    async def start(self) -> None:
        config = self._config()
        config.prepare()
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._database = config.open_database()
        self._service = config.make_service(self._database)
        await self._service.open()
        self._runs = True

    async def kill(self) -> None:
        if self._runs:
            await self._service.close(finish_seconds=0)
            self._database.close()
            self._runs = False

    async def new(self) -> None:
        await self.kill()
        if self._saved.is_dir():
            shutil.rmtree(self._state)
            shutil.copytree(self._saved, self._state)
            await self.start()
        else:
            await self.start()
            await self.kill()
            shutil.copytree(self._state, self._saved)
            await self.start()

    def _config(self) -> NodeConfig:
        return read_config(self._file)


def clear() -> None:
    """Remove all targets, connections and volumes of this machine; pools stay."""
    subprocess.run(["nvme", "disconnect-all"], check=True, capture_output=True)
    for path in NVMET.glob("ports/*/subsystems/*"):
        path.unlink()
    for path in NVMET.glob("subsystems/*/allowed_hosts/*"):
        path.unlink()
    for kind in ("subsystems/*/namespaces", "subsystems", "ports", "hosts"):
        for path in NVMET.glob(f"{kind}/*"):
            path.rmdir()
    for name in _lines("dmsetup", "info", "-c", "--noheadings", "-o", "name"):
        if "+" in name:
            subprocess.run(["dmsetup", "remove", "--retry", name], check=True)
    names = _lines("lvs", "--noheadings", "-o", "vg_name,lv_name", "--separator", "/")
    names = [name for name in names if not name.endswith("/pool")]
    if names:
        subprocess.run(["lvremove", "--yes", "--quiet", *names], check=True, capture_output=True)


def _lines(*command: str) -> list[str]:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


async def main() -> None:
    agents = [LabAgent(Path(name)) for name in sys.argv[1:]]
    loop = asyncio.get_running_loop()
    print("ok", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        verb, _, number = line.strip().partition(" ")
        try:
            if verb == "clear":
                for agent in agents:
                    await agent.kill()
                clear()
            else:
                await getattr(agents[int(number)], verb)()
        except Exception as error:  # noqa: BLE001 - it is told to the test
            print(f"{type(error).__name__}: {error}".replace("\n", " "), flush=True)
        else:
            print("ok", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
