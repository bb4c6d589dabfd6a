"""Something that is looked at all the time while something else is measured."""

import threading
from abc import ABC, abstractmethod
from typing import Self


class Sampler(ABC):
    """Calls `look` in a thread of its own within the block, again and again."""

    pause_seconds: float
    """How long it waits before each look."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on)

    @abstractmethod
    def look(self) -> None:
        """Look once."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._over.wait(self.pause_seconds):
            self.look()
