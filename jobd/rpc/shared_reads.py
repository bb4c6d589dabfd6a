"""Reads of the store that many calls ask for at the same moment, made once."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class SharedReads:
    """Lets thousands of watchers that wake at once wait for one read. Nothing is kept longer than the read takes."""

    def __init__(self) -> None:
        """Begin with nothing being read."""
        self._reading: dict[Hashable, asyncio.Task[Any]] = {}

    async def get(self, key: Hashable, read: Callable[[], T]) -> T:
        """Give what `read` gives in a thread, or what one that goes on for the same key will give.

        The key must say all that the answer depends on, what is known to have been committed included.
        """
        task = self._reading.get(key)
        if task is None:
            task = self._reading[key] = asyncio.create_task(asyncio.to_thread(read))
            task.add_done_callback(lambda _task: self._reading.pop(key))
        # A watcher that hangs up must not end the read of the others.
        answer: T = await asyncio.shield(task)
        return answer
