"""The bytes of one upload as they arrive: written and hashed in threads while the next are on their way."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterable, Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

from jobd.errors import UploadNotFoundError

_T = TypeVar("_T")
_BATCH = 1 << 20
"""Bytes that are written at once: a thread for each message would cost more than the writing."""
_BLOCK = 1 << 20
_WRITEBACK = 8 << 20
"""After so many bytes the kernel is asked to write them."""


class Part:
    """What has arrived of an upload. Its methods block; the caller sees to it that one runs at a time."""

    def __init__(self, path: Path) -> None:
        """Go on with the file at `path`, or begin it with the first bytes."""
        self._path = path
        self._digest = hashlib.sha256()
        self._hashed = 0
        self._fd = -1
        self.size = path.stat().st_size if path.exists() else 0
        """How many bytes are there."""
        self._advised = self.size

    @property
    def sha256(self) -> str:
        """The digest of all that is there, in lower-case hexadecimal."""
        self._catch_up()
        return self._digest.hexdigest()

    def append(self, pieces: list[bytes]) -> None:
        """Add pieces; OSError when the disk refuses."""
        self._catch_up()
        data = b"".join(pieces)
        self._write(data)
        self._digest.update(data)
        self.size += len(data)
        self._hashed = self.size
        self._start_writeback()

    def sync(self) -> None:
        """Put everything on disk, and nothing but what counts; UploadNotFoundError when it was removed meanwhile."""
        self.append([])
        os.ftruncate(self._file(), self.size)
        os.fsync(self._file())
        if not self._path.exists():
            raise UploadNotFoundError("the upload waited for too long, and was removed", hint="begin anew")

    def close(self) -> None:
        """Leave the file alone until there is more."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _file(self) -> int:
        if self._fd < 0:
            try:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except FileNotFoundError as error:
                raise UploadNotFoundError("the upload waited for too long, and was removed") from error
        return self._fd

    def _write(self, data: bytes) -> None:
        # At its place, so that what a write that failed has left behind the end is overwritten.
        written = 0
        while written < len(data):
            written += os.pwrite(self._file(), data[written:] if written else data, self.size + written)

    def _start_writeback(self) -> None:
        # So that little is left to wait for when it is synced. The advice writes first what it is to forget.
        if self.size - self._advised >= _WRITEBACK:
            os.posix_fadvise(self._file(), self._advised, self.size - self._advised, os.POSIX_FADV_DONTNEED)
            self._advised = self.size

    def _catch_up(self) -> None:
        """Hash what an earlier daemon has received."""
        if self._hashed == self.size:
            return
        with self._path.open("rb") as file:
            file.seek(self._hashed)
            while block := file.read(min(_BLOCK, self.size - self._hashed)):
                self._digest.update(block)
                self._hashed += len(block)


async def pour(
    pieces: AsyncIterable[bytes], into: Part, *, check_room: Callable[[int], None], threads: Executor
) -> None:
    """Add all pieces, as long as `check_room` raises nothing for their number of bytes.

    However it ends, `into` then holds the bytes that `size` tells of, and no thread works on it any more.
    """
    loop = asyncio.get_running_loop()
    writing: asyncio.Future[None] | None = None
    batch: list[bytes] = []
    size = 0
    try:
        async for piece in pieces:
            batch.append(piece)
            size += len(piece)
            if size >= _BATCH:
                check_room(size)
                if writing:
                    await bring_to_end(writing)
                writing = loop.run_in_executor(threads, into.append, batch)
                batch, size = [], 0
        check_room(size)
    finally:
        if writing:
            await bring_to_end(writing)
    await bring_to_end(loop.run_in_executor(threads, into.append, batch))


async def bring_to_end(running: "asyncio.Future[_T]") -> _T:
    """Give what becomes of a thread's work, or of a task: whoever cancels the wait for it waits until it has ended."""
    try:
        # Awaited as it is, a cancellation would make it forget the thread, which would go on all the same.
        await asyncio.wait([running])
    finally:
        while not running.done():
            await asyncio.wait([running])
    return running.result()


async def run_to_end(function: Callable[[], _T], threads: Executor) -> _T:
    """Run a function in a thread and give what it returns; whoever cancels it waits until it has ended."""
    return await bring_to_end(asyncio.get_running_loop().run_in_executor(threads, function))
