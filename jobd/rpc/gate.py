"""Ending the daemon without cutting calls off: those that run may finish, new ones are told to come again."""

import asyncio
import contextlib
from collections.abc import Iterator

from jobd.errors import DrainingError


class Gate:
    """Counts the calls that go on."""

    def __init__(self) -> None:
        """Begin open."""
        self._closed = False
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @contextlib.contextmanager
    def passing(self) -> Iterator[None]:
        """Count a call within the block; DrainingError when the gate is closed."""
        if self._closed:
            raise DrainingError("the daemon is shutting down; call again in a moment, it is likely to come back")
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    async def close(self, seconds: float) -> int:
        """Let nobody in any more, wait at most so long for those inside, and count who still is."""
        self._closed = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), seconds)
        return self._inside
