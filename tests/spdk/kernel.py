"""A Linux host: its kernel refuses some combinations of targets on several nodes (measured on
6.1).
"""

import threading
from collections.abc import Mapping
from typing import Any

from tests.spdk.host import Host, NoAccess

Place = tuple[str, int, str]
EVENT_SECONDS = 0.1
"""Seconds after which it has noticed an event of a target. Real kernels take up to 0.3 s."""


class KernelRefuses(Exception):
    """The kernel refuses a target. The text is the message that the kernel logs."""


class Hangs(Exception):
    """I/O to namespaces whose target was removed without notice. It cannot be killed."""


class Kernel:
    """The kernel of a host. It treats all controllers with the same subsystem NQN as one subsystem,
    whatever their nodes are.

    So their ids must differ, a namespace id must have the same UUID on all of them, and a UUID must
    have only one id. The kernel reads the namespaces of its controllers all the time, which
    simulates the events of real targets. If a target is removed while the kernel knows namespaces
    of it, I/O to them hangs.
    """

    def __init__(self, hostnqn: str) -> None:
        self.hostnqn = hostnqn
        self._controllers: dict[Place, Host] = {}
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def reach(self, address: str, port: int, nqn: str) -> Host:
        """Return the controller at this target, with its present namespaces. It is connected if it
        was not.

        :raises KernelRefuses, Hangs, NoAccess, OSError: the kernel or the target refuses it.
        """
        place = (address, port, nqn)
        with self._lock:
            for controller in self._controllers.values():
                _notice(controller)
            former = self._controllers.get(place)
            if former is None or former.is_closed:
                self._connect(place, former.namespaces if former else {})
            return self._controllers[place]

    def known(self, address: str, port: int, nqn: str) -> list[int]:
        """The namespace ids that the kernel knows of the controller, whether or not they still
        exist.
        """
        with self._lock:
            return sorted(self._controllers[address, port, nqn].namespaces)

    def close(self) -> None:
        self._is_over.set()
        self._watcher.join()
        for host in self._controllers.values():
            host.close()

    def _watch(self) -> None:
        while not self._is_over.wait(EVENT_SECONDS):
            with self._lock:
                for controller in self._controllers.values():
                    _notice(controller)

    def _connect(self, place: Place, known: Mapping[int, Mapping[str, Any]]) -> None:
        try:
            host = Host(*place, self.hostnqn)
        except (NoAccess, OSError) as error:
            if known:
                raise Hangs(f"{place} is gone with namespaces {sorted(known)}") from error
            raise
        try:
            self._check(place, host, known)
        except KernelRefuses:
            host.close()
            raise
        self._controllers[place] = host

    def _check(self, place: Place, host: Host, known: Mapping[int, Mapping[str, Any]]) -> None:
        others = [h for at, h in self._controllers.items() if at[2] == place[2] and at != place]
        if host.cntlid in [other.cntlid for other in others]:
            raise KernelRefuses(f"Duplicate cntlid {host.cntlid}, subsys {place[2]}, rejecting")
        for nsid, one in host.namespaces.items():
            if known.get(nsid, one)["uuid"] != one["uuid"]:
                raise KernelRefuses(f"identifiers changed for nsid {nsid}")
            for other in others:
                if other.namespaces.get(nsid, one)["uuid"] != one["uuid"]:
                    raise KernelRefuses(f"IDs don't match for shared namespace {nsid}")
                if any(there["uuid"] == one["uuid"] for there in other.namespaces.values()):
                    raise KernelRefuses(f"duplicate IDs in subsystem for nsid {nsid}")


def _notice(controller: Host) -> None:
    """Read the namespaces of the controller.

    :raises KernelRefuses: a namespace id has another volume than before.
    """
    if controller.is_closed:
        return
    known = controller.namespaces
    try:
        controller.rescan()
    except OSError:
        controller.close()
        return
    for nsid, one in controller.namespaces.items():
        if known.get(nsid, one)["uuid"] != one["uuid"]:
            raise KernelRefuses(f"identifiers changed for nsid {nsid}")
