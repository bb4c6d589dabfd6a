"""Threads that do things now or later, and remember what went wrong in them."""

import threading
import time
from collections.abc import Callable


class Workers:
    """The threads of one schedule."""

    def __init__(self, wrong: list[str]) -> None:
        """Prepare; whatever is raised in a thread is added to `wrong`."""
        self._wrong = wrong
        self._threads: list[threading.Thread] = []

    def start(self, work: Callable[..., object], *arguments: object) -> None:
        """Do something in a thread of its own."""

        def guarded() -> None:
            try:
                work(*arguments)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
                self._wrong.append(f"{getattr(work, '__name__', work)}: {error!r}"[:400])

        thread = threading.Thread(target=guarded, name=getattr(work, "__name__", "work"), daemon=True)
        self._threads.append(thread)
        thread.start()

    def later(self, seconds: float, work: Callable[..., object], *arguments: object) -> None:
        """Do something after a while."""

        def wait_and_work() -> None:
            time.sleep(seconds)
            work(*arguments)

        self.start(wait_and_work)

    def join(self, seconds: float) -> list[str]:
        """Wait for each, at most so long; give the names of those that are not done."""
        for thread in tuple(self._threads):
            thread.join(seconds)
        return [thread.name for thread in self._threads if thread.is_alive()]
