"""Carries out the migrations of the host: it replaces a leg by another one while the volume is in
use.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from inventory.simulated_hosts.connection import Connection, Result
from inventory.simulated_hosts.legs import Legs
from inventory.simulated_hosts.observed import (
    AVAILABLE,
    FAILED,
    FINISHED,
    IDLE,
    MISSING,
    RUNNING,
    TERMINATING,
    MigrationTask,
    Volume,
)
from inventory.simulated_hosts.raid_array import Array

log = logging.getLogger(__name__)


@dataclass
class _Migration:
    """A migration. ``known``: the legs before the migration; None: it has not started.
    ``has_added``: a leg was added. If the task is aborted, that leg is removed. No second leg is
    added, because nothing would remove it.
    """

    task: MigrationTask
    known: frozenset[str] | None = None
    has_added: bool = False
    progress: float = 0.0


class Migrations:
    """The migrations that this agent carries out. A migration that already runs when it is first
    seen belongs to the provisioner, or to an earlier process of the agent.
    """

    def __init__(self, api: Connection, host: str, name: str, legs: Legs) -> None:
        self._api, self._host, self._name = api, host, name
        self._legs = legs
        self._taken: dict[str, _Migration] = {}

    @property
    def volumes(self) -> set[str]:
        """The volumes of the running migrations."""
        return {migration.task.volume for migration in self._taken.values()}

    def follow(self, tasks: Iterable[MigrationTask]) -> None:
        """Take the migrations that are for this host, and drop those that have ended."""
        there = {task.task_id: task for task in tasks if task.handler == "AGENT"}
        for task_id in self._taken.keys() - there.keys():
            log.info("host %s: task %s has ended", self._name, task_id)
            del self._taken[task_id]
        for task_id, task in there.items():
            if task_id not in self._taken and task.state == IDLE and not task.refusal:
                log.info("host %s: starts task %s of volume %s", self._name, task_id, task.volume)
                self._taken[task_id] = _Migration(task)

    async def step(self, volumes: dict[str, Volume], arrays: dict[str, Array], now: float) -> bool:
        """Make one step of each migration. Returns whether a leg was changed.

        :raises NoAnswer: it is unknown whether the change was made.
        """
        changed = False
        for migration in list(self._taken.values()):
            volume = volumes.get(migration.task.volume)
            if volume is None:
                await self._fail(migration, "VolumeNotPublished", "the host does not have it")
            elif migration.known is None:
                changed |= await self._begin(migration, volume)
            else:
                changed |= await self._continue(migration, volume, arrays[volume.uuid], now)
        return changed

    async def _begin(self, migration: _Migration, volume: Volume) -> bool:
        begun = await self._say(migration, state=RUNNING)
        if begun:
            migration.known = frozenset(volume.legs)
        return begun

    async def _continue(
        self, migration: _Migration, volume: Volume, array: Array, now: float
    ) -> bool:
        assert migration.known is not None
        outgoing = volume.legs.get(migration.task.outgoing)
        new = next((leg for uuid, leg in volume.legs.items() if uuid not in migration.known), None)
        if new is None and outgoing is not None and not migration.has_added:
            added = await self._legs.add(volume.uuid, migration.task.destination)
            migration.has_added = added.done
            return await self._required(migration, added)
        if new is None or new.state == MISSING:
            await self._fail(
                migration, "NotAvailable", "a replica of the migration no longer exists"
            )
        elif outgoing is None:
            await self._say(migration, state=FINISHED, progress=100, taskStatus="Success")
        elif outgoing.state != TERMINATING and new.state == AVAILABLE:
            marked = await self._legs.mark(volume.uuid, outgoing.uuid)
            return await self._required(migration, marked)
        elif outgoing.state != TERMINATING:
            done = 100 * array.synchronized(new.uuid, volume, now)
            migration.progress = max(migration.progress, round(done, 2))
            await self._say(migration, progress=migration.progress)
        return False

    async def _required(self, migration: _Migration, result: Result) -> bool:
        if not result.done:
            await self._fail(migration, result.code, result.description)
        return result.done

    async def _fail(self, migration: _Migration, code: str, description: str) -> None:
        said = {"state": FAILED, "taskStatus": code, "statusDescription": description}
        await self._say(migration, **said)

    async def _say(self, migration: _Migration, **said: Any) -> bool:
        """Update the task. A migration that has ended, or whose update is refused, is dropped."""
        task = migration.task.task_id
        body = {"taskId": task, "hostId": self._host} | said
        result = await self._api.send("PUT", "/tasks", body)
        if not result.done:
            log.warning("host %s: task %s: %s", self._name, task, result.description)
        elif "state" in said:
            log.info("host %s: task %s is %s", self._name, task, said["state"])
        if not result.done or said.get("state") in {FINISHED, FAILED}:
            del self._taken[task]
        return result.done
