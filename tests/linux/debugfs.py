"""What the fake kernel tells about the controllers of its target, in debugfs. Linux has this since
6.11, if it is built with it.
"""

import errno

from tests.linux.drives import fail
from tests.linux.network import Session
from tests.linux.nvmet import FakeNvmet

ROOT = "/sys/kernel/debug/nvmet"


class FakeDebugfs:
    """A folder for each subsystem, with a folder ``ctrl1`` for the controller with the id 1 ..."""

    def __init__(self, nvmet: FakeNvmet) -> None:
        self._nvmet = nvmet

    def names(self, path: str) -> list[str]:
        match path.removeprefix(ROOT).split("/")[1:]:
            case []:
                return list(self._nvmet.subsystems)
            case [nqn]:
                return list(self._sessions(nqn))
            case [nqn, name] if name in self._sessions(nqn):
                return ["host_traddr", "hostnqn", "kato", "port", "state"]
        raise fail(errno.ENOENT, path)

    def read(self, path: str) -> str:
        match path.removeprefix(ROOT).split("/")[1:]:
            case [nqn, name, "hostnqn"] if session := self._sessions(nqn).get(name):
                return session.host
        raise fail(errno.ENOENT, path)

    def _sessions(self, nqn: str) -> dict[str, Session]:
        if nqn not in self._nvmet.subsystems:
            raise fail(errno.ENOENT, nqn)
        return {f"ctrl{one.number}": one for one in self._nvmet.subsystems[nqn].sessions}
