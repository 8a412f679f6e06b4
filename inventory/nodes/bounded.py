"""Runs coroutines in parallel, with a limit."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

AT_ONCE = 16

T = TypeVar("T")
R = TypeVar("R")


async def gather_bounded(
    function: Callable[[T], Awaitable[R]], items: Iterable[T], *, at_once: int = AT_ONCE
) -> list[R]:
    """Call the function for each item, at most ``at_once`` at a time. The calls begin in the order
    of the items. Returns the results in this order.

    :raises Exception: the error of the first call that fails. The other calls are cancelled.
    """
    places = asyncio.Semaphore(at_once)

    async def call(item: T) -> R:
        async with places:
            return await function(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call(item)) for item in items]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
