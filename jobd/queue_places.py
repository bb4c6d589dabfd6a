"""How many jobs may wait: those that do, and those that are being taken on."""

import contextlib
from collections.abc import Iterator

from jobd.errors import TooManyError
from jobd.states import JobState
from jobd.store import Store


class QueuePlaces:
    """The places in the queue. It belongs to the event loop's thread."""

    def __init__(self, store: Store, *, most: int) -> None:
        """Have `most` places, of which the jobs take theirs that the store holds as queued."""
        self._store = store
        self._most = most
        self._coming = 0

    @contextlib.contextmanager
    def take(self) -> Iterator[None]:
        """Hold a place while a job is taken on within the block; TooManyError when there is none."""
        if self._store.count(JobState.QUEUED) + self._coming >= self._most:
            raise TooManyError(
                f"{self._most} jobs wait in the queue already",
                limit="queued",
                value=self._most,
                hint="submit it again when some have ended; the daemon's --max-queued is the limit",
            )
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1
