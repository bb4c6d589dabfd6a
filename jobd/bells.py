"""Waking those who wait for a job to change. What they then see, they read from the store."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping

from jobd.jobs import Job

EVERY_JOB = ""
"""The bell that rings with every other: no job has this id."""


class Bells:
    """A bell for each job that somebody waits for. Nothing is queued for anybody."""

    def __init__(self) -> None:
        """Begin with nobody waiting; must be made on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self.rung = 0
        """How often any bell has rung."""

    def ring_from_thread(self, jobs: Mapping[str, Job]) -> None:
        """Wake whoever waits for these jobs; may be called in any thread, also after the loop has ended."""
        if jobs and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ring, tuple(jobs))

    def _ring(self, job_ids: tuple[str, ...]) -> None:
        self.rung += 1
        for job_id in (*job_ids, EVERY_JOB):
            for waiting in self._waiting.pop(job_id, ()):
                if not waiting.done():
                    waiting.set_result(None)

    def ring_all(self) -> None:
        """Wake everybody."""
        self._ring(tuple(self._waiting))

    def next(self, job_id: str) -> "asyncio.Future[None]":
        """Give a future of the job's next change. Take it before reading the store, and no change is missed."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting[job_id].add(future)
        return future

    def drop(self, job_id: str, future: "asyncio.Future[None]") -> None:
        """Stop waiting."""
        future.cancel()
        waiting = self._waiting.get(job_id)
        if waiting is not None:
            waiting.discard(future)
            if not waiting:
                del self._waiting[job_id]
