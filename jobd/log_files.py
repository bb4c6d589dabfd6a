"""Reading the logs of entries by byte offset, while they are written and after."""

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


def read_piece(path: Path, offset: int) -> bytes:
    """Read at most a piece from `offset`; nothing at the end, or when there is no log yet."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(fd, PIECE, offset)
    finally:
        os.close(fd)


def check_offset(path: Path, offset: int) -> None:
    """Raise OffsetOutOfRangeError when `offset` lies beyond the end of a log."""
    size = path.stat().st_size if path.exists() else 0
    if offset > size:
        raise OffsetOutOfRangeError(f"the log has {size} bytes, which is less than the offset {offset}")
