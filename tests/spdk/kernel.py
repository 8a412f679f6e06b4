"""A Linux host as its kernel is: what it refuses of targets on several nodes (measured on 6.1)."""

from tests.spdk.host import Host, NoAccess

Place = tuple[str, int, str]


class KernelRefuses(Exception):
    """The kernel's own words."""


class Hangs(Exception):
    """I/O to namespaces whose target went without a word; it cannot be killed."""


class Kernel:
    """To it, all controllers with one subsystem NQN belong to one subsystem, on whatever node: so
    they have ids of their own, a namespace id is one UUID on all of them, and a UUID is one id.
    """

    def __init__(self, hostnqn: str) -> None:
        self.hostnqn = hostnqn
        self._controllers: dict[Place, Host] = {}

    def reach(self, address: str, port: int, nqn: str) -> Host:
        """The controller there, connected now if it is not, with the namespaces as they are now.

        :raises KernelRefuses, Hangs, NoAccess, OSError:
        """
        place = (address, port, nqn)
        former = self._controllers.get(place)
        if former is not None:
            known = former.namespaces
            try:
                former.rescan()
            except OSError:
                former.close()
            else:
                self._scan(place, former, known)
                return former
        return self._connect(place, former)

    def close(self) -> None:
        for host in self._controllers.values():
            host.close()
        self._controllers.clear()

    def _connect(self, place: Place, former: Host | None) -> Host:
        try:
            host = Host(*place, self.hostnqn)
        except (NoAccess, OSError) as error:
            if former is not None and former.namespaces:
                raise Hangs(
                    f"{place} is gone with namespaces {sorted(former.namespaces)}"
                ) from error
            raise
        if host.cntlid in [other.cntlid for other in self._others(place)]:
            host.close()
            raise KernelRefuses(f"Duplicate cntlid {host.cntlid}, subsys {place[2]}, rejecting")
        self._scan(place, host, former.namespaces if former else {})
        self._controllers[place] = host
        return host

    def _scan(self, place: Place, host: Host, known: dict[int, dict[str, str]]) -> None:
        for nsid, one in host.namespaces.items():
            if known.get(nsid, one)["uuid"] != one["uuid"]:
                raise KernelRefuses(f"identifiers changed for nsid {nsid}")
            for other in self._others(place):
                if other.namespaces.get(nsid, one)["uuid"] != one["uuid"]:
                    raise KernelRefuses(f"IDs don't match for shared namespace {nsid}")
                if any(there["uuid"] == one["uuid"] for there in other.namespaces.values()):
                    raise KernelRefuses(f"duplicate IDs in subsystem for nsid {nsid}")

    def _others(self, place: Place) -> list[Host]:
        """The other controllers of the subsystem."""
        return [h for at, h in self._controllers.items() if at[2] == place[2] and at != place]
