"""The latest events of jobs that have not ended, in memory: who follows a job is told without a read of the disk."""

import threading
from collections import deque
from collections.abc import Sequence
from itertools import islice

from jobd.events import Record

_MOST = 256
"""So many events of all jobs together are kept; the oldest go first. One takes about a kilobyte, or as much as a
module printed when it failed."""


class RecentEvents:
    """May be asked in any thread while the writer's adds to it."""

    def __init__(self, most: int = _MOST) -> None:
        """Begin with none."""
        self._most = most
        self._lock = threading.Lock()
        self._order: deque[str] = deque()
        """The job of each event that is kept, the oldest first."""
        self._records: dict[str, deque[Record]] = {}

    def add(self, job_id: str, records: Sequence[Record]) -> None:
        """Keep events of a job, which follow those that were added before."""
        with self._lock:
            self._records.setdefault(job_id, deque()).extend(records)
            self._order.extend(job_id for _ in records)
            while len(self._order) > self._most:
                self._drop_oldest()

    def after(self, job_id: str, sequence: int, limit: int) -> tuple[Record, ...] | None:
        """Give at most `limit` events of a job after `sequence`, in order; None when the first of them is not here."""
        with self._lock:
            kept = self._records.get(job_id)
            if not kept or not kept[0].sequence <= sequence + 1 <= kept[-1].sequence:
                return None
            # From the end: who follows a job has all of it but the last few.
            following = list(islice(reversed(kept), kept[-1].sequence - sequence))
        following.reverse()
        return tuple(following[:limit])

    def _drop_oldest(self) -> None:
        job_id = self._order.popleft()
        kept = self._records[job_id]
        kept.popleft()
        if not kept:
            del self._records[job_id]
