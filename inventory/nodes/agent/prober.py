"""Reports to the provisioner that the node is alive, and what has changed."""

import asyncio
import logging
import random
from contextlib import suppress
from typing import TYPE_CHECKING

from urllib3.exceptions import HTTPError

from inventory.nodes.agent.probe_sender import ProbeFailed, ProbeSender
from inventory.nodes.errors import NodeRefused

if TYPE_CHECKING:
    from inventory.nodes.agent.agent import Agent
    from inventory.nodes.wire import ProvisionerSettings

MAX_BACKOFF_SECONDS = 60.0
RETRY_SECONDS = 1.0

log = logging.getLogger(__name__)


class Prober:
    """Sends a probe once per push interval, up to a fifth earlier at random, and at once after a
    change.

    Without a provisioner it sends nothing. After a failure it waits 1, 2, 4 ... seconds, randomly
    shortened by up to half, at most a minute or the push interval, whichever is longer. It never
    stops trying. If the probe that reports a change fails, the next probe reports it.

    ``start_within_seconds``: the first probe after a start comes at a random time in this span, so
    that nodes that start together do not send their probes together.
    """

    def __init__(
        self, agent: "Agent", sender: ProbeSender, *, start_within_seconds: float = 0
    ) -> None:
        self._is_muted = False
        self._agent = agent
        self._sender = sender
        self._start_within_seconds = start_within_seconds
        self._changes = 0
        self._failures = 0
        self._woken = asyncio.Event()
        agent.on_change = self.wake

    def wake(self, changes: int = 0) -> None:
        """Send a probe now. ``changes``: bits of ``Changes`` to report."""
        self._changes |= changes
        self._woken.set()

    def mute(self, is_muted: bool) -> None:
        """Stop or resume sending. When it is resumed, a probe is sent at once."""
        if self._is_muted != is_muted:
            self._is_muted = is_muted
            self._woken.set()

    def forget(self) -> None:
        """Discard the changes that were not reported yet, and the number of failures."""
        self._changes = 0
        self._failures = 0

    async def run(self) -> None:
        """Send probes until this is cancelled."""
        await asyncio.sleep(random.uniform(0, self._start_within_seconds))  # noqa: S311
        node = self._agent.identity.persistent_id
        while True:
            try:
                await self._send_and_rest()
            except Exception:
                log.exception("node %s cannot read its settings", node)
                await asyncio.sleep(RETRY_SECONDS)

    async def _send_and_rest(self) -> None:
        self._woken.clear()
        settings = self._agent.provisioner
        if settings is None or self._is_muted:
            await self._woken.wait()
        else:
            await self._probe(settings)
            await self._rest(settings)

    async def _probe(self, settings: "ProvisionerSettings") -> None:
        changes, self._changes = self._changes, 0
        node = self._agent.identity.persistent_id
        try:
            probe = await self._agent.probe(settings, changes)
            self._agent.answered(settings, await self._sender.send(settings, probe))
        except (ProbeFailed, NodeRefused, HTTPError, OSError) as error:
            level = logging.DEBUG if self._failures else logging.WARNING
            log.log(level, "node %s cannot send its probe to %s: %s", node, settings.url, error)
        except Exception:
            log.exception("node %s cannot send its probe to %s", node, settings.url)
        else:
            self._failures = 0
            return
        self._changes |= changes
        self._failures += 1

    async def _rest(self, asked: "ProvisionerSettings") -> None:
        interval = float((self._agent.provisioner or asked).push_interval)
        if self._failures:
            longest = max(interval, MAX_BACKOFF_SECONDS)
            backoff = min(2.0 ** min(self._failures - 1, 20), longest)
            seconds = backoff * random.uniform(0.5, 1)  # noqa: S311
        else:
            seconds = interval * random.uniform(0.8, 1)  # noqa: S311
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
