"""Reads a stream of the daemon's messages in a thread of its own."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_LOOK_SECONDS = 0.25
"""How often a wait is begun anew. A signal that another thread takes, or that comes just before the wait, does not
break it, and Python handles it only then."""


class Call(Protocol[_T_co]):
    """An open stream."""

    def __iter__(self) -> Iterator[_T_co]:
        """Yield the daemon's messages."""

    def cancel(self) -> bool:
        """End the stream."""


class Reader(Generic[_T]):
    """Reads one message whenever one is asked for, and cancels a stream whose next message takes too long.

    Ctrl-C raises in the main thread, wherever that thread is. Within gRPC's own waiting it can leave a lock that is
    then released without being held, so that a `RuntimeError` takes the place of `KeyboardInterrupt`. Here the main
    thread waits for a `SimpleQueue`, which is a single step to the interpreter.
    """

    def __init__(self, call: Call[_T]) -> None:
        """Hold the stream."""
        self.expired = False
        self._call = call
        self._wishes: SimpleQueue[bool] = SimpleQueue()
        self._answers: SimpleQueue[_T | BaseException] = SimpleQueue()
        self._thread = threading.Thread(target=self._read, name="jobctl-reader", daemon=True)

    def read(self, limit: Callable[[], float] = lambda: math.inf) -> Iterator[_T]:
        """Pass the messages on; before each, `limit` tells how many seconds it may take.

        A reader that takes its time between two messages is no reason to end the stream.
        """
        while True:
            answer = self._take(limit())
            if isinstance(answer, StopIteration):
                return
            if isinstance(answer, BaseException):
                raise answer
            yield answer

    def __enter__(self) -> Self:
        """Start to read."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the stream, and with it the thread."""
        self._call.cancel()
        self._wishes.put(False)
        self._thread.join()

    def _take(self, seconds: float) -> _T | BaseException:
        self._wishes.put(True)
        due = time.monotonic() + seconds
        while True:
            left = due - time.monotonic()
            try:
                return self._answers.get(timeout=min(max(0.0, left), _LOOK_SECONDS))
            except Empty:
                if left <= 0:
                    self.expired = True
                    self._call.cancel()
                    return self._answers.get()

    def _read(self) -> None:
        messages = iter(self._call)
        while self._wishes.get():
            try:
                self._answers.put(next(messages))
            except BaseException as error:  # noqa: BLE001 - raised again where the message was asked for
                self._answers.put(error)
