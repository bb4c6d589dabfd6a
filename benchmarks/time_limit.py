"""A bound on how long a measure may take, so that one that hangs does not keep the others from being made."""

import contextlib
import signal
from collections.abc import Iterator

from benchmarks.daemon import BenchmarkError


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise BenchmarkError within the block once it has taken so many seconds; only for the main thread."""

    def end(*_: object) -> None:
        raise BenchmarkError(f"it was not done after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
