"""When a log grew, as far as its runner saw it: by this the logs of entries that ran at once are put in order.

Beside a log that grew while it was looked at stands a file of marks, each a time and how long the log then was. What
came after the last mark, which is all of a short log, is as old as the log's own time of change.
"""

import contextlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from time import time

_MARK = struct.Struct("<dq")
_AT_ONCE = 1024
_APART_SECONDS = 0.2
"""A flood is looked at more often than it is worth a mark."""


def times_path(log: Path) -> Path:
    """Give the file that stands beside a log."""
    return log.with_suffix(".times")


class LogTimes:
    """Writes the marks of one log."""

    def __init__(self, log: Path) -> None:
        """Begin anew; the file is made with the first mark."""
        self._path = times_path(log)
        self._path.unlink(missing_ok=True)
        self._size = 0
        self._last = 0.0
        self._fd: int | None = None

    def note(self, size: int) -> None:
        """Mark that the log has so many bytes by now."""
        now = time()
        if size <= self._size or abs(now - self._last) < _APART_SECONDS:
            return
        self._size, self._last = size, now
        # A disk that refuses a mark costs the order of some lines, for which no entry has to fail.
        with contextlib.suppress(OSError):
            self._write(self.pack(now, size))

    @staticmethod
    def pack(seconds: float, size: int) -> bytes:
        """Give the mark that says how long a log was at a time, in seconds since the epoch."""
        return _MARK.pack(seconds, size)

    def _write(self, mark: bytes) -> None:
        if self._fd is None:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        os.write(self._fd, mark)

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)


def read_marks(log: Path, after: int) -> Iterator[tuple[float, int]]:
    """Give the marks of a log that lie beyond byte `after`: seconds since the epoch, and bytes."""
    place = 0
    while data := _read(times_path(log), place):
        place += len(data)
        for seconds, size in _MARK.iter_unpack(data):
            if size > after:
                yield seconds, size


def _read(path: Path, place: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return b""
    try:
        data = os.pread(fd, _MARK.size * _AT_ONCE, place)
    finally:
        os.close(fd)
    # A mark that is being written has no end yet.
    return data[: len(data) // _MARK.size * _MARK.size]
