"""Reading the logs of entries by byte offset, while they are written and after."""

import errno
import os
from pathlib import Path

from jobd.errors import EntryNotFoundError, OffsetOutOfRangeError
from jobd.jobs import Entry, Job
from jobd.log_mark import shown_size

PIECE = 64 << 10
"""The most bytes that are read at once."""
_LONGEST_TAIL = 16 << 20


def select_entries(job: Job, step: str, name: str) -> tuple[Entry, ...]:
    """Give the entries that a client means: all, those of a step, or one; EntryNotFoundError when there is none."""
    found = tuple(entry for entry in job.entries if step in ("", entry.step) and name in ("", entry.name))
    if not found:
        wanted = "/".join(filter(None, (step, name)))
        known = ", ".join(f"{entry.step}/{entry.name}" for entry in job.entries[:10])
        raise EntryNotFoundError(f"job {job.id} has no entry {wanted!r}", hint=f"it has {known}")
    return found


def read_piece(path: Path, offset: int) -> tuple[int, bytes]:
    """Read at most a piece from `offset`, and tell where it begins: what was cut out of a long log is left out.

    Nothing at the end, or when there is no log yet.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return offset, b""
    try:
        start = os.lseek(fd, offset, os.SEEK_DATA)
        end = shown_size(path, os.lseek(fd, start, os.SEEK_HOLE))
        if end <= start:
            return offset, b""
        return start, os.pread(fd, min(PIECE, end - start), start)
    except OSError as error:
        if error.errno != errno.ENXIO:  # there is nothing from here on
            raise
        return offset, b""
    finally:
        os.close(fd)


def readable_size(path: Path) -> tuple[int, float] | None:
    """Tell how many bytes of a log may be read, and when it last grew (seconds since the epoch); None without a log."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return shown_size(path, status.st_size), status.st_mtime


def find_tail(path: Path, count: int) -> int:
    """Give where the last `count` lines of a log begin, at most 16 MiB before its end; 0 when there is no log.

    A line that has no end yet counts as well.
    """
    found = readable_size(path)
    if found is None:
        return 0
    size, _changed = found
    if count == 0:
        return size
    with path.open("rb", buffering=0) as file:
        return _search_back(file.fileno(), size, count)


def _search_back(fd: int, size: int, count: int) -> int:
    least = max(0, size - _LONGEST_TAIL)
    end = size
    while end > least:
        start = max(least, end - PIECE)
        data = os.pread(fd, end - start, start)
        # The end of the last line begins no other.
        place = len(data) - (end == size and data.endswith(b"\n"))
        while (place := data.rfind(b"\n", 0, place)) >= 0:
            count -= 1
            if count == 0:
                return start + place + 1
        end = start
    return least


def check_offset(path: Path, offset: int) -> None:
    """Raise OffsetOutOfRangeError when `offset` lies beyond the end of a log."""
    size = shown_size(path, path.stat().st_size) if path.exists() else 0
    if offset > size:
        raise OffsetOutOfRangeError(f"the log has {size} bytes, which is less than the offset {offset}")
