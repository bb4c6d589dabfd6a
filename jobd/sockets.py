"""Unix sockets in a folder whose path may be longer than the 107 bytes that an address can hold."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

RUNNERS = "runners.sock"
"""Where runners ask for capacity and hear of cancels."""
DOORBELL = "doorbell.sock"
"""Where runners say that their journal has grown."""


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Give another, short name of a path, which holds within the block."""
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{path.name}"
    finally:
        os.close(fd)


def bind(path: Path, kind: socket.SocketKind) -> socket.socket:
    """Make a socket at a path, in the place of one that a dead daemon left; the caller holds the directory's lock."""
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, kind)
    with short_path(path) as name:
        bound.bind(name)
    path.chmod(0o600)
    return bound


def connect(path: Path, kind: socket.SocketKind) -> socket.socket:
    """Connect to a socket at a path; OSError when nobody listens."""
    connected = socket.socket(socket.AF_UNIX, kind)
    try:
        with short_path(path) as name:
            connected.connect(name)
    except OSError:
        connected.close()
        raise
    return connected
