"""An event loop in a separate thread."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

ANSWER_SECONDS = 60.0


class LoopThread:
    """Runs coroutines for other threads until it is stopped."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine in the loop. Returns its result, or raises its exception.

        :raises TimeoutError: it has not ended after ANSWER_SECONDS.
        """
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(ANSWER_SECONDS)

    def call(self, function: Callable[..., T], *values: Any) -> T:
        """Run the function in the loop. Returns its result, or raises its exception."""

        async def in_loop() -> T:
            return function(*values)

        return self.run(in_loop())

    def stop(self) -> None:
        """Cancel all running tasks and end the thread."""
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=1)
