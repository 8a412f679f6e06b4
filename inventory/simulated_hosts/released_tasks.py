"""Handles tasks like the agent of release 3.22. It checks them once a second."""

from typing import Any

from inventory.simulated_hosts.connection import Result
from inventory.simulated_hosts.kernel import Kernel, Md
from inventory.simulated_hosts.observed import (
    AVAILABLE,
    FAILED,
    FINISHED,
    IDLE,
    RUNNING,
    TERMINATING,
)
from inventory.simulated_hosts.released_calls import UNSAID, Calls
from inventory.simulated_hosts.released_volumes import Volumes

ADDED = "addedReplicaId"
SUCCESS = "Success"
COMPLETE = 100.0
Task = dict[str, Any]


class Tasks:
    """The tasks of the agent. ``_running`` is kept in memory only, so a restarted agent starts
    RUNNING tasks again.
    """

    def __init__(self, calls: Calls, kernel: Kernel, volumes: Volumes) -> None:
        self._calls, self._kernel, self._volumes = calls, kernel, volumes
        self._running: dict[str, Task] = {}

    @property
    def are_running(self) -> bool:
        return bool(self._running)

    async def work(self, now: float) -> None:
        """Handle all tasks. The agent assumes that every task in the list is its own."""
        for task in await self._calls.tasks():
            if task["state"] == IDLE and task["type"] == "RemoteMigration":
                await self._begin(task, now)
            elif task["state"] == RUNNING:
                self._running.setdefault(task["taskId"], task)
        for task in list(self._running.values()):
            await self._continue(task, now)

    async def _begin(self, task: Task, now: float) -> None:
        tags = _tags(task)
        array = self._array(tags)
        refusal = self._refusal(task, array, now)
        if refusal or array is None:
            await self._fail(task, *refusal)
            return
        added = await self._calls.replica_add(array.uuid)
        if not added.done:
            await self._fail(task, added.code, added.description)
            return
        volume = await self._calls.volume(array.uuid)
        if volume is None:
            await self._fail(task, "VolumeNotFound", "Could not find volume after adding replica")
        elif await self._volumes.add_legs(array, volume, now) is None:
            await self._give_up(task, array, tags["replicaId"])
        else:
            task |= {"state": RUNNING, "taskStatus": SUCCESS, "progress": 0}
            task["taskConfiguration"].append({"name": ADDED, "value": tags["replicaId"]})
            await self._calls.task_update(task)
            self._running[task["taskId"]] = task

    def _array(self, tags: dict[str, str]) -> Md | None:
        found = (a for a in self._kernel.arrays.values() if a.alias == tags.get("volumeAlias"))
        return next((array for array in found if array.alias in self._volumes.seen), None)

    def _refusal(self, task: Task, array: Md | None, now: float) -> tuple[str, ...]:
        """Return the reason why the task is refused, as code and description. Any text in an IDLE
        task counts as a refusal.
        """
        if task.get("taskStatus", UNSAID) not in {"", UNSAID}:
            return task["taskStatus"], task.get("statusDescription", UNSAID)
        alias = _tags(task).get("volumeAlias")
        if task["taskId"] in self._running:
            return "TaskAlreadyRunning", f"Volume migration is already running for volume: {alias}"
        if array is None:
            return "VolumeNotFound", f"Could not find volume: {alias}"
        if not array.active(now) or not self._kernel.live(array):
            return "NotEnoughReplicas", "Not enough replicas are available and connected"
        return ()

    async def _give_up(self, task: Task, array: Md, outgoing: str) -> None:
        """Fail the task. The agent removes the replica that was to be replaced, and not the replica
        that it added.
        """
        marked = await self._calls.replica_mark(array.uuid, outgoing)
        if marked.done and (await self._calls.replica_confirm(array.uuid, outgoing)).done:
            await self._calls.targets(array.uuid, of_host=False)
        text = "Could not connect to replica after adding it"
        await self._fail(task, "CommunicationError", text)

    async def _continue(self, task: Task, now: float) -> None:
        tags = _tags(task)
        array = self._array(tags)
        if array is None:
            return
        if ADDED not in tags:
            await self._end(task, FAILED, "CommunicationError", "Missing task configuration")
            return
        if not self._kernel.is_here(array.uuid, tags[ADDED]):
            return
        percent = array.sync_percent(now)
        if percent is not None:
            task["progress"] = percent
            await self._calls.task_update(task)
        elif tags[ADDED] in array.active(now):
            await self._finish(task, array, tags)
        else:
            text = "Volume migration was interrupted."
            await self._end(task, FAILED, "CommunicationError", text)

    async def _finish(self, task: Task, array: Md, tags: dict[str, str]) -> None:
        await self._calls.report(array.uuid, tags[ADDED], AVAILABLE)
        task["progress"] = COMPLETE
        marked = await self._calls.replica_mark(array.uuid, tags["replicaId"])
        if not marked.done:
            await self._end(task, FAILED, marked.code, UNSAID)
            return
        volume = await self._calls.volume(array.uuid)
        places = volume["location"] if volume else []
        outgoing = [p["uuid"] for p in places if p["replicaState"] == TERMINATING]
        if volume is None:
            text = "Could not find volume after adding replica"
            await self._end(task, FAILED, "VolumeNotFound", text)
        elif len(outgoing) == 1 and await self._volumes.remove_leg(array, volume, outgoing[0]):
            await self._end(task, FINISHED, SUCCESS, SUCCESS)
        else:
            await self._end(task, FAILED, "CommunicationError", "CommunicationError")

    async def _fail(self, task: Task, code: str, text: str) -> None:
        task |= {"state": FAILED, "taskStatus": code, "statusDescription": text}
        await self._calls.task_update(task)

    async def _end(self, task: Task, state: str, code: str, text: str) -> None:
        """End the task. This is repeated in each round until the API accepts it."""
        task |= {"state": state, "taskStatus": code, "statusDescription": text}
        said: Result = await self._calls.task_update(task)
        if said.done:
            self._running.pop(task["taskId"], None)


def _tags(task: Task) -> dict[str, str]:
    return {tag["name"]: tag["value"] for tag in task["taskConfiguration"]}
