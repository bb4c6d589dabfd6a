"""A runner's line to the daemon: it asks for capacity and hears of cancels, across restarts of the daemon."""

import contextlib
import os
import socket
import threading
from pathlib import Path

from pydantic import ValidationError

from jobd import procfs, sockets
from jobd.messages import TO_RUNNER, Acquire, Alive, Cancel, Granted, Hello, Lease, Release
from jobd.plan import Resources

_RECONNECT_SECONDS = 0.25
ALIVE_SECONDS = 5.0
"""How often a runner says that it is alive."""


class Link:
    """The runner's end. While no daemon serves, what is held stays held and what is wanted is wanted again later."""

    def __init__(self, path: Path, job_id: str) -> None:
        """Start the thread that keeps the line."""
        self._path = path
        self._job_id = job_id
        self._lock = threading.RLock()
        self._stopping = threading.Condition(self._lock)
        self._waiting: dict[str, threading.Condition] = {}
        """Of each that waits in acquire its own: to wake all for every grant costs more than the grant."""
        self._socket: socket.socket | None = None
        self._wanted: dict[str, Resources] = {}
        self._held: dict[str, Lease] = {}
        self._cancel_reason: str | None = None
        self._abandoned = False
        self._closed = threading.Event()
        self.wake_fd, self._wake_end = os.pipe2(os.O_CLOEXEC)
        """Readable from the moment that running entries are to be ended."""
        self._own = procfs.current()
        threading.Thread(target=self._keep, name="link", daemon=True).start()
        threading.Thread(target=self._tell_alive, name="alive", daemon=True).start()

    @property
    def cancel_reason(self) -> str | None:
        """Why the job is to be cancelled; None while it is not."""
        return self._cancel_reason

    def want(self, key: str, resources: Resources) -> None:
        """Ask for capacity ahead of acquire, which somebody is to call; nothing when it was asked for already."""
        with self._lock:
            if key not in self._wanted and key not in self._held:
                self._wanted[key] = resources
                self._send(Acquire(lease=Lease(key=key, resources=resources)))

    def acquire(self, key: str, resources: Resources) -> Lease | None:
        """Wait for capacity; None when the job came to want none any more."""
        with self._lock:
            self.want(key, resources)
            granted = self._waiting[key] = threading.Condition(self._lock)
            granted.wait_for(lambda: key in self._held or self._unwanted)
            del self._waiting[key]
            if key in self._held:
                return self._held[key]
            del self._wanted[key]
            self._send(Release(key=key))
            return None

    def release(self, key: str) -> None:
        """Give capacity back."""
        with self._lock:
            del self._held[key]
            self._send(Release(key=key))

    def want_no_more(self, key: str) -> None:
        """Take back what was asked for ahead, and give it back if it was had; nothing when there was nothing."""
        with self._lock:
            if self._wanted.pop(key, None) is not None or self._held.pop(key, None) is not None:
                self._send(Release(key=key))

    def abandon(self) -> None:
        """Stop waiting for capacity, now and from now on."""
        with self._lock:
            self._abandon()

    def interrupt(self) -> None:
        """Have running entries ended, and stop waiting for capacity."""
        with self._lock:
            self._interrupt()

    def wait_cancelled(self, seconds: float) -> bool:
        """Wait until the job is to be stopped or the time is up; tell whether it is to be stopped."""
        with self._lock:
            return self._stopping.wait_for(lambda: self._unwanted, seconds)

    def close(self) -> None:
        """Hang up for good."""
        with self._lock:
            self._closed.set()
            self._hang_up()

    @property
    def _unwanted(self) -> bool:
        return self._abandoned or self._cancel_reason is not None

    def _send(self, message: Hello | Acquire | Release | Alive) -> None:
        # What a dead daemon does not hear is said again in the hello to the next one.
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendall(message.line())

    def _tell_alive(self) -> None:
        while not self._closed.wait(ALIVE_SECONDS):
            with self._lock:
                self._send(Alive())

    def _keep(self) -> None:
        while not self._closed.is_set():
            try:
                connection = sockets.connect(self._path, socket.SOCK_STREAM)
            except OSError:
                self._closed.wait(_RECONNECT_SECONDS)
                continue
            with connection:
                self._greet(connection)
                self._listen(connection)

    def _greet(self, connection: socket.socket) -> None:
        with self._lock:
            self._socket = connection
            own, held = self._own, tuple(self._held.values())
            self._send(Hello(job_id=self._job_id, pid=own.pid, start_ticks=own.start_ticks, held=held))
            for key, resources in self._wanted.items():
                self._send(Acquire(lease=Lease(key=key, resources=resources)))

    def _listen(self, connection: socket.socket) -> None:
        try:
            with connection.makefile("rb") as lines:
                for line in lines:
                    self._hear(TO_RUNNER.validate_json(line))
        except (OSError, ValidationError):
            # A daemon that died in the middle of a line; the next one is told everything anew.
            self._closed.wait(_RECONNECT_SECONDS)
        with self._lock:
            self._socket = None

    def _hear(self, message: Granted | Cancel) -> None:
        with self._lock:
            if isinstance(message, Cancel):
                self._cancel(message.reason)
            elif message.key in self._wanted:
                resources = self._wanted.pop(message.key)
                self._held[message.key] = Lease(key=message.key, resources=resources, gpus=message.gpus)
                if (granted := self._waiting.get(message.key)) is not None:
                    granted.notify()
            elif message.key not in self._held:
                self._send(Release(key=message.key))

    def _cancel(self, reason: str) -> None:
        if self._cancel_reason is None:
            self._cancel_reason = reason
            self._interrupt()

    def _abandon(self) -> None:
        self._abandoned = True
        for waiting in (self._stopping, *self._waiting.values()):
            waiting.notify_all()

    def _interrupt(self) -> None:
        self._abandon()
        if self._wake_end >= 0:
            os.close(self._wake_end)
            self._wake_end = -1

    def _hang_up(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
