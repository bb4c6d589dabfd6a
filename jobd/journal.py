"""The append-only file in which one runner writes down what happens to its job.

A line is `<crc32 of the rest, 8 hex digits> <JSON of an Occurrence>\\n`. A line that is torn or does not match its
checksum is no line: reading stops before it, and the next writer cuts it off.
"""

import os
import threading
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from jobd.errors import is_disk_full
from jobd.events import ArtifactPublished, ArtifactRemoved, Occurrence

_FULL_SECONDS = 1.0
"""How often it is tried again to write when the disk is full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The whole lines that stand in a journal after an offset."""

    occurrences: tuple[Occurrence, ...]
    offset: int
    """Where the last whole line ends, in bytes."""


def encode(occurrence: Occurrence) -> bytes:
    """Give the line of an occurrence."""
    text = occurrence.model_dump_json(exclude_defaults=False).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def decode(line: bytes) -> Occurrence | None:
    """Read a line without its newline; None when it is not what was written."""
    checksum, _, text = line.partition(b" ")
    try:
        if int(checksum, 16) != zlib.crc32(text):
            return None
        return Occurrence.model_validate_json(text)
    except (ValueError, ValidationError):
        return None


def read(path: Path, offset: int = 0, limit: int = 4 << 20) -> Chunk:
    """Read at most about `limit` bytes of whole lines after `offset`; nothing when the file does not exist."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(limit)
            if b"\n" not in data:
                data += file.readline()
    except FileNotFoundError:
        return Chunk(occurrences=(), offset=offset)
    occurrences = []
    for line in data.splitlines(keepends=True):
        occurrence = decode(line[:-1]) if line.endswith(b"\n") else None
        if occurrence is None:
            break
        occurrences.append(occurrence)
        offset += len(line)
    return Chunk(occurrences=tuple(occurrences), offset=offset)


def read_all(path: Path) -> Chunk:
    """Read every whole line."""
    occurrences: list[Occurrence] = []
    chunk = read(path)
    while chunk.occurrences:
        occurrences.extend(chunk.occurrences)
        chunk = read(path, chunk.offset)
    return Chunk(occurrences=tuple(occurrences), offset=chunk.offset)


def present_after(path: Path, offset: int, present: Collection[str]) -> set[str]:
    """Give the artifacts that are there once what stands after an offset is taken in, of those that were before."""
    names = set(present)
    while (chunk := read(path, offset)).occurrences:
        for occurrence in chunk.occurrences:
            if isinstance(occurrence.event, ArtifactPublished):
                names.add(occurrence.event.name)
            elif isinstance(occurrence.event, ArtifactRemoved):
                names.discard(occurrence.event.name)
        offset = chunk.offset
    return names


class Journal:
    """The writer's end of a journal. Only the holder of the runner's lock may open one."""

    def __init__(self, path: Path, *, end: int) -> None:
        """Open for appending after byte `end`, cutting off whatever torn line follows."""
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._end = end
        os.ftruncate(self._fd, end)
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # of those that wait for room, so that what one of them tells stays together

    def append(self, occurrences: Sequence[Occurrence], *, durable: bool, wait: bool = True) -> bool:
        """Write the lines, from any thread; when it returns and `durable` is set, they are on disk.

        When the disk is full it waits until there is room, because what is not written did not happen, and what is
        told twice did not either. Without `wait` it returns at once, also while another thread waits, and tells
        whether every line was written; the others are dropped. OSError when the disk refuses for another reason: the
        job then cannot go on.
        """
        data = b"".join(map(encode, occurrences))
        if wait:
            with self._turn:
                while data := self._write(data):
                    sleep(_FULL_SECONDS)
        else:
            data = self._write(data)
        if durable:
            os.fdatasync(self._fd)
        return not data

    def _write(self, data: bytes) -> bytes:
        """Write as many whole lines as there is room for, and give the others."""
        with self._lock:
            written = 0
            try:
                written = os.pwrite(self._fd, data, self._end)
            except OSError as error:
                if not is_disk_full(error):
                    raise
            whole = data.rfind(b"\n", 0, written) + 1
            if whole < written:
                # A torn line would hide every line after it.
                os.ftruncate(self._fd, self._end + whole)
            self._end += whole
            return data[whole:]

    def close(self) -> None:
        """Put everything on disk and close."""
        os.fsync(self._fd)
        os.close(self._fd)

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()
