"""How long a client waits for a daemon that is away, and how it asks again meanwhile."""

import math
import random
import time
from dataclasses import dataclass

from jobctl.errors import JobctlError


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

    def delay(self, error: JobctlError, until: float = math.inf) -> float:
        """Give the seconds until the next try, not beyond the monotonic time `until`; raise when patience has ended."""
        self._since = min(self._since, time.monotonic())
        self._failures += 1
        if self.remaining() <= 0 or self._failures > self._patience.tries:
            raise error
        # Jitter, because a restarted daemon would otherwise meet all of its watchers at once.
        pause = self._delay * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
        self._delay = min(self._delay * 2, self._patience.last_delay)
        return max(0.0, min(pause, self.remaining(), until - time.monotonic()))
