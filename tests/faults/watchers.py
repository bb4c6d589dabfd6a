"""A client that follows a job over cuts, and remembers all it was told."""

import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
from world import World

_TERMINAL = {"job_succeeded", "job_failed", "job_cancelled"}


class Follower:
    """Follows one job in a thread of its own to its terminal event."""

    def __init__(self, world: World, job_id: str, *, at_end: Callable[[], list[str]] = list) -> None:
        """Start; `at_end` is asked at the moment of the terminal event for what is wrong then."""
        self.job_id = job_id
        self.seen: list[tuple[int, str]] = []
        self.wrong: list[str] = []
        self.cuts = 0
        self._world = world
        self._at_end = at_end
        self._stream: Any = None
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"follow-{job_id}", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Tell whether the terminal event has come."""
        return bool(self.seen) and self.seen[-1][1] in _TERMINAL

    def cut(self) -> None:
        """Cut the line, as a network does."""
        stream = self._stream
        if stream is not None:
            self.cuts += 1
            stream.cancel()

    def join(self, seconds: float) -> bool:
        """Wait for the end of the job; tell whether it came."""
        self._thread.join(max(0.0, seconds))
        if self._thread.is_alive():
            self._given_up.set()
            self.cut()
            self._thread.join(20)
            return False
        return self.ended

    def _follow(self) -> None:
        while not self.ended and not self._given_up.is_set():
            try:
                self._stream = self._world.watch(self.job_id, self.seen[-1][0] if self.seen else 0)
                for message in self._stream:
                    self._hear(message)
                if not self.ended:
                    self.wrong.append("the stream ended with OK before the terminal event")
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    self.wrong.append(f"a watch of an accepted job: {error.details()}")
                    return
                time.sleep(0.05)

    def _hear(self, message: Any) -> None:
        if message.WhichOneof("message") != "event":
            return
        event = message.event
        expected = self.seen[-1][0] + 1 if self.seen else 1
        if event.sequence != expected:
            self.wrong.append(f"event {event.sequence} came where {expected} was due")
        if self.ended:
            self.wrong.append(f"event {event.sequence} came after the terminal event")
        self.seen.append((event.sequence, event.WhichOneof("kind") or ""))
        if self.ended:
            self.wrong += self._at_end()
