"""The lock of a state directory: whoever holds it may change what is in it."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from time import sleep

from jobd.errors import StateDirectoryLockedError
from jobd.layout import StateDirectory

_TRIES = 5
_PAUSE_SECONDS = 0.05
"""`is_held` takes the lock for a moment; whoever wants it then must not take that for a daemon."""


@contextlib.contextmanager
def hold(state: StateDirectory, what: str = "process") -> Iterator[None]:
    """Hold the lock; StateDirectoryLockedError names who holds it if somebody else does. `what` names the holder."""
    fd = os.open(state.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _take(fd):
            holder = os.pread(fd, 100, 0).decode(errors="replace").strip() or "another process"
            raise StateDirectoryLockedError(
                f"{state.root} is served by another daemon: {holder}", hint="stop that one, or use another --state-dir"
            )
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{what} {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def is_held(state: StateDirectory) -> bool:
    """Tell whether somebody holds the lock."""
    try:
        fd = os.open(state.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _lock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _take(fd: int) -> bool:
    for _try in range(_TRIES):
        if _lock(fd, fcntl.LOCK_EX):
            return True
        sleep(_PAUSE_SECONDS)
    return False


def _lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
