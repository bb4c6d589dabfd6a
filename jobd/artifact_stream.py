"""An artifact as the bytes of a download: any range of them, and a version that tells whether ranges fit together."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from jobd.errors import ArtifactChangedError
from jobd.tar_stream import Segment, identify, list_segments

_BLOCK = 1 << 20
"""Read at once: a thread's turn for less would cost more than the reading."""


class Source(Protocol):
    """The bytes of an artifact."""

    total: int
    """How many there are."""
    version: str
    """The same as long as they are."""

    def read(self, begin: int, end: int) -> Iterator[bytes]:
        """Give those from `begin` up to `end` in blocks; ArtifactChangedError when they are not what they were."""


class FileSource:
    """The bytes of a file, which stays open with it."""

    def __init__(self, path: Path) -> None:
        """Open the file; OSError when that fails."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._file = os.fdopen(fd, "rb", buffering=0)
        status = os.fstat(fd)
        self.total = status.st_size
        self.version = _shorten(identify(status))

    def read(self, begin: int, end: int) -> Iterator[bytes]:
        """Give those from `begin` up to `end` in blocks; ArtifactChangedError when they are not what they were."""
        while begin < end:
            piece = os.pread(self._file.fileno(), min(_BLOCK, end - begin), begin)
            if not piece:
                raise ArtifactChangedError("the artifact has become shorter while it was read")
            begin += len(piece)
            yield piece


class FolderSource:
    """The bytes of the tar of a folder."""

    def __init__(self, folder: Path) -> None:
        """Look through the folder; OSError when that fails."""
        self._folder = folder
        self.total = 0
        digest = hashlib.sha256()
        for segment in list_segments(folder):
            self.total += segment.length
            digest.update(segment.head + segment.identity.encode())
        self.version = digest.hexdigest()[:32]

    def read(self, begin: int, end: int) -> Iterator[bytes]:
        """Give those from `begin` up to `end` in blocks; ArtifactChangedError when they are not what they were."""
        buffer = bytearray()
        try:
            for piece in self._read(begin, end):
                buffer += piece
                while len(buffer) >= _BLOCK:
                    yield bytes(buffer[:_BLOCK])
                    del buffer[:_BLOCK]
        except FileNotFoundError as error:
            raise ArtifactChangedError("the artifact was removed while it was read") from error
        if buffer:
            yield bytes(buffer)

    def _read(self, begin: int, end: int) -> Iterator[bytes]:
        place = 0
        for segment in list_segments(self._folder):
            first, last = max(begin - place, 0), min(end - place, segment.length)
            if first < last:
                yield from _read_segment(segment, first, last)
            place += segment.length
            if place >= end:
                return


def open_source(path: Path) -> Source:
    """Open an artifact; OSError when that fails."""
    return FolderSource(path) if path.is_dir() and not path.is_symlink() else FileSource(path)


def _read_segment(segment: Segment, first: int, last: int) -> Iterator[bytes]:
    head = len(segment.head)
    if first < head:
        yield segment.head[first:last]
    if segment.path is not None and last > head:
        source = FileSource(segment.path)
        if source.version != _shorten(segment.identity):
            raise ArtifactChangedError("the artifact was changed while it was read")
        yield from source.read(max(first - head, 0), last - head)


def _shorten(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:32]
