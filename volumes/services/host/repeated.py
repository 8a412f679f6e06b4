"""Probes that hosts repeat. Each agent sends the same probe every 30 s.

A process handles the first one completely. It answers later ones from memory
(:mod:`provisioner.common.known_answers`), and a thread stores them together, half a second later at
most (:mod:`provisioner.common.following`). If the process is killed before that, these probes are
lost. This delays nothing: a host is Unavailable only after three intervals without a probe.
"""

import logging
import threading
import time
from contextvars import copy_context

from django.db import Error

from events.models import Event
from inventory.services.host_probes import Probe, probes_store
from inventory.services.hosts import HostReport
from provisioner.common import clock, logs
from provisioner.common.results import ProvisionerError
from provisioner.common.writes import writes_known_allowed
from volumes.services.host.report import host_report

log = logging.getLogger(__name__)

STALE_SECONDS = 1.0
"""No probe is answered from memory if the last storing began longer ago."""


class RepeatedProbes:
    """The probes that this process may answer from memory, and those that wait to be stored."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held for moments only
        self._admitted: dict[str, HostReport] = {}
        self._waiting: dict[str, Probe] = {}
        self._stored_at = float("-inf")

    def admit(self, report: HostReport) -> None:
        """Note that this probe was handled completely, so :meth:`repeat` accepts it. It replaces
        the former probe of the host.
        """
        with self._lock:
            self._admitted[report.uuid] = report

    def repeat(self, report: HostReport) -> bool:
        """Note that an admitted probe came again, to store it later. False: it must be handled
        completely, because the host has sent another one since, or because it could not be stored
        in time.
        """
        if time.monotonic() - self._stored_at >= STALE_SECONDS or not writes_known_allowed():
            return False
        with self._lock:
            if self._admitted.get(report.uuid) is not report:
                return False
            self._waiting[report.uuid] = report, clock.now()
        return True

    def store(self) -> None:
        """Store the probes that wait. If the row of a host is locked, its probe waits on. If a host
        was deleted or has another NQN, its probe is handled completely now, unless the host has
        sent another one since. In both cases, the next probe of the host is handled completely, so
        the host gets an error if there is one.

        :raises django.db.Error: they cannot be stored, and are lost.
        """
        began_at = time.monotonic()
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        others, late = probes_store(list(waiting.values())) if waiting else ([], [])
        self._stored_at = began_at
        with self._lock:
            for report, at in late:
                self._waiting.setdefault(report.uuid, (report, at))
                self._admitted.pop(report.uuid, None)
            # without those of hosts that have sent another one since
            others = [r for r in others if self._admitted.pop(r.uuid, r) is r]
        for report in others:
            copy_context().run(_handle, report)
        with self._lock:
            for report in others:
                if newer := self._admitted.get(report.uuid):  # it came meanwhile, and may be undone
                    self._waiting[report.uuid] = newer, clock.now()


def _handle(report: HostReport) -> None:
    """Handle the probe completely. The host is the actor of the events that it causes."""
    logs.caller.set(report.uuid)
    logs.caller_type.set(Event.Actor.HOST)
    try:
        host_report(report)
    except (ProvisionerError, Error) as error:
        about = {"host": report.uuid, "reason": str(error)}
        log.warning("a repeated probe of a host could not be handled", extra=about)


probes = RepeatedProbes()
"""Those of this process."""
