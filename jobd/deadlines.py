"""When a running module has had its time: in all, and since it last printed anything."""

from collections.abc import Callable
from time import monotonic


class Deadlines:
    """The clocks of one attempt, which begin to run at once."""

    def __init__(self, *, timeout: float | None, silence: float | None, clock: Callable[[], float] = monotonic) -> None:
        """Allow `timeout` seconds in all and `silence` seconds without output; None where there is no bound."""
        self._timeout = timeout
        self._silence = silence
        self._clock = clock
        self._begun = self._heard = clock()
        self._size = 0

    def hear(self, size: int) -> int:
        """Note how many bytes have been printed so far; give how many that is more than before."""
        grown = size - self._size
        if grown:
            self._size, self._heard = size, self._clock()
        return grown

    def left(self, most: float) -> float:
        """Give the seconds until the first clock runs out, at most `most`."""
        now = self._clock()
        ends = [now + most, *(start + seconds for start, seconds, _why in self._clocks())]
        return max(0.0, min(ends) - now)

    def passed(self) -> str:
        """Say which clock has run out; empty while none has."""
        now = self._clock()
        return next((why for start, seconds, why in self._clocks() if now >= start + seconds), "")

    def _clocks(self) -> list[tuple[float, float, str]]:
        clocks = []
        if self._timeout is not None:
            why = f"it ran longer than its timeout of {self._timeout:g} s"
            clocks.append((self._begun, self._timeout, why))
        if self._silence is not None:
            why = f"it was silent: it printed nothing for {self._silence:g} s"
            clocks.append((self._heard, self._silence, why))
        return clocks
