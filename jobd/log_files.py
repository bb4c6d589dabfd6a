"""Reading the logs of entries by byte offset, while they are written and after."""

import errno
import os
from pathlib import Path

from jobd.errors import EntryNotFoundError, OffsetOutOfRangeError
from jobd.jobs import Entry, Job

PIECE = 64 << 10
"""The most bytes that are read at once."""


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
        end = os.lseek(fd, start, os.SEEK_HOLE)
        return start, os.pread(fd, min(PIECE, end - start), start)
    except OSError as error:
        if error.errno != errno.ENXIO:  # there is nothing from here on
            raise
        return offset, b""
    finally:
        os.close(fd)


def check_offset(path: Path, offset: int) -> None:
    """Raise OffsetOutOfRangeError when `offset` lies beyond the end of a log."""
    size = path.stat().st_size if path.exists() else 0
    if offset > size:
        raise OffsetOutOfRangeError(f"the log has {size} bytes, which is less than the offset {offset}")
