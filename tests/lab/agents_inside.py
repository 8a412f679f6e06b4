"""Runs in a machine: several agents in one process, so that a new agent starts no new Python.

``python3 -m tests.lab.agents_inside CONFIG...`` reads lines from standard input, and answers each
with ``ok`` or the error. N counts the files from 0.

=================== ===========================================================================
``start N``         start the agent
``format N``        the same, and overwrite what its drives hold
``save N``          end it, and keep its records for ``new``
``kill N``          end it without finishing any call
``clear``           kill all agents; remove all connections, targets and volumes, but not the pools
``new N``           start the agent with the records that were kept
``vanish NAME...``  remove the last logical volume with one of these names, and its exports
=================== ===========================================================================
"""

import asyncio
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from inventory.nodes.engines.read_config import read_config

NVMET = Path("/sys/kernel/config/nvmet")


class LabAgent:
    """An agent of this machine, as its configuration file says."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._state = read_config(file).state_folder
        self._saved = self._state.with_name("new")
        self._runs = False

    async def format(self) -> None:
        ssds = [ssd["id"] for ssd in tomllib.loads(self._file.read_text())["ssds"]]
        await self.start(ssds)

    async def save(self) -> None:
        await self.kill()
        shutil.copytree(self._state, self._saved)

    async def start(self, to_format: Collection[str] = ()) -> None:
        config = read_config(self._file, to_format=to_format)
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
        shutil.rmtree(self._state)
        shutil.copytree(self._saved, self._state)
        await self.start()


def clear() -> None:
    _run("nvme", "disconnect-all")
    for path in (*NVMET.glob("ports/*/subsystems/*"), *NVMET.glob("subsystems/*/allowed_hosts/*")):
        path.unlink()
    for kind in ("subsystems/*/namespaces", "subsystems", "ports", "hosts"):
        for path in NVMET.glob(f"{kind}/*"):
            path.rmdir()
    _remove_volumes(lambda name: name != "pool")


def vanish(names: Collection[str]) -> None:
    """As an operator might by mistake, who forces it."""
    for path in NVMET.glob("subsystems/*/namespaces/*"):
        text = (path / "device_path").read_text()
        if any(name in text or name.replace("-", "--") in text for name in names):
            path.rmdir()
    _remove_volumes(lambda name: name in names, only_last=True)


def _remove_volumes(is_one: Callable[[str], bool], *, only_last: bool = False) -> None:
    for name in _run("dmsetup", "info", "-c", "--noheadings", "-o", "name").splitlines():
        if "+" in name and is_one(name.partition("+")[2]):
            _run("dmsetup", "remove", "--retry", name)
    shown = _run("lvs", "--noheadings", "-o", "vg_name,lv_name", "--separator", "/").split()
    found = sorted(name for name in shown if is_one(name.partition("/")[2]))
    if found:
        _run("lvremove", "--yes", "--quiet", *(found[-1:] if only_last else found))


def _run(*command: str) -> str:
    """Run a command; return what it printed.

    :raises RuntimeError: it failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


async def obey(agents: Sequence[LabAgent], verb: str, *words: str) -> None:
    if verb == "vanish":
        vanish(words)
    elif verb == "clear":
        for agent in agents:
            await agent.kill()
        clear()
    else:
        await getattr(agents[int(words[0])], verb)()


async def main() -> None:
    agents = [LabAgent(Path(name)) for name in sys.argv[1:]]
    loop = asyncio.get_running_loop()
    print("ok", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            await obey(agents, *line.split())
        except Exception as error:  # noqa: BLE001 - the test is told
            print(f"{type(error).__name__}: {error}".replace("\n", " "), flush=True)
        else:
            print("ok", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
