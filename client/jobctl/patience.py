"""How long a client waits for a daemon that is away, and how it asks again meanwhile."""

import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from jobctl.errors import JobctlError

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """The bounds of waiting, all in seconds."""

    outage: float = 60.0
    """Without progress for this long, the daemon counts as gone."""
    silence: float = 45.0
    """A watch without any message for this long is dead: three heartbeats of 15 s."""
    first_delay: float = 0.1
    """The pause before the second try."""
    last_delay: float = 5.0
    """The longest pause: each is twice the one before."""
    tries: int = 30
    """A call that fails so often in a row without any progress is given up, even if the daemon answers others."""


class Outage:
    """The time since the daemon last gave a sign of life; made anew for each call that is to be resumed."""

    def __init__(self, patience: Patience) -> None:
        """Begin with the daemon present."""
        self._patience = patience
        self._since = math.inf
        self._failures = 0
        self._delay = patience.first_delay

    def connect(self) -> None:
        """Note that the daemon is there."""
        self._since = math.inf

    def end(self) -> None:
        """Note that the call made progress."""
        self.connect()
        self._failures = 0
        self._delay = self._patience.first_delay

    def remaining(self) -> float:
        """Tell how many seconds of patience are left."""
        return max(0.0, min(self._since, time.monotonic()) + self._patience.outage - time.monotonic())

    def wait(self, error: JobctlError, until: float = math.inf) -> None:
        """Pause before the next try, not beyond the monotonic time `until`; raise the error when patience has ended."""
        self._since = min(self._since, time.monotonic())
        self._failures += 1
        if self.remaining() <= 0 or self._failures > self._patience.tries:
            raise error
        # Jitter, because a restarted daemon would otherwise meet all of its watchers at once.
        pause = self._delay * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
        time.sleep(max(0.0, min(pause, self.remaining(), until - time.monotonic())))
        self._delay = min(self._delay * 2, self._patience.last_delay)


class Watchdog:
    """Cancels a stream whose next message takes too long. A reader that takes its time is no reason."""

    _TICK = 0.2

    def __init__(self, cancel: Callable[[], object]) -> None:
        """Hold how to cancel the stream."""
        self.expired = False
        self._cancel = cancel
        self._due = math.inf
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="jobctl-watchdog", daemon=True)

    def read(self, messages: Iterator[_T], limit: Callable[[], float]) -> Iterator[_T]:
        """Pass the messages on; before each, `limit` tells how many seconds it may take."""
        while True:
            self._due = time.monotonic() + limit()
            try:
                message = next(messages)
            except StopIteration:
                return
            finally:
                self._due = math.inf
            yield message

    def __enter__(self) -> Self:
        """Start to watch."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the watch, and the stream with it."""
        self._closed.set()
        self._cancel()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(min(self._TICK, max(0.0, self._due - time.monotonic()))):
            if time.monotonic() >= self._due:
                self.expired = True
                self._cancel()
                return
