"""The part of the disk that is left free, so that what was accepted can be brought to its end."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from jobd.errors import DiskFullError

_MOST_BYTES = 1 << 30
_MOST_FILES = 10_000
_SHARE = 0.05
_LOOK_SECONDS, _AMPLE_LOOK_SECONDS = 1.0, 5.0
_AMPLE_BYTES = 16 << 30
"""With so much more free than is kept, the disk is looked at seldom: nothing writes that in the meantime."""

NO_ROOM = "the disk is too full to start anything"
"""Why entries wait while there is a shortage."""

_UNITS = (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a file system has, in bytes and in files. Where it does not count files, there are 0 in all."""

    free_bytes: int
    all_bytes: int
    free_files: int
    all_files: int


def look(path: Path) -> Room:
    """Ask the file system that `path` is on; OSError when it does not answer."""
    found = os.statvfs(path)
    # What is set aside for root does not count: a daemon is not root.
    return Room(
        free_bytes=found.f_bavail * found.f_frsize,
        all_bytes=found.f_blocks * found.f_frsize,
        free_files=found.f_favail,
        all_files=found.f_files,
    )


class Reserve:
    """Tells whether the disk of a folder has more free than a reserve."""

    def __init__(self, folder: Path, wanted_bytes: int | None = None, *, look: Callable[[Path], Room] = look) -> None:
        """Keep `wanted_bytes` free; by default 1 GiB or 5 % of the disk, whichever is smaller. 0 keeps nothing."""
        self._folder = folder
        self._wanted = wanted_bytes
        self._look = look
        self.relieve: Callable[[], bool] = lambda: False
        """Removes what can be spared and tells whether there was any; asked before a shortage is told."""
        self.ample = False
        """Whether there was far more than enough when the disk was last looked at."""

    def shortage(self, needed_bytes: int = 0) -> str:
        """Say what there is too little of once `needed_bytes` more are used; empty when there is enough."""
        short = self._shortage(needed_bytes)
        return self._shortage(needed_bytes) if short and self.relieve() else short

    def _shortage(self, needed_bytes: int) -> str:
        room = self._look(self._folder)
        keep = self._keep(room)
        self.ample = room.free_bytes - keep > _AMPLE_BYTES
        if room.free_bytes - needed_bytes < keep:
            needed = f"{_size(needed_bytes)} are needed and " if needed_bytes else ""
            return (
                f"{_size(room.free_bytes)} are free on the disk of {self._folder}, {needed}{_size(keep)} are kept free"
            )
        files = 0 if self._wanted == 0 else min(_MOST_FILES, int(room.all_files * _SHARE))
        if room.free_files < files:
            return f"{room.free_files} files more fit on the disk of {self._folder}, {files} are kept free"
        return ""

    def bytes_free_and_kept(self) -> tuple[int, int]:
        """Give how many bytes are free, and how many of them are to stay so; OSError when the disk does not answer."""
        room = self._look(self._folder)
        return room.free_bytes, self._keep(room)

    def _keep(self, room: Room) -> int:
        return min(_MOST_BYTES, int(room.all_bytes * _SHARE)) if self._wanted is None else self._wanted

    def check(self, needed_bytes: int = 0) -> None:
        """Raise DiskFullError unless there is enough once `needed_bytes` more are used."""
        shortage = self.shortage(needed_bytes)
        if shortage:
            raise DiskFullError(
                f"the disk is too full: {shortage}", hint="delete jobs, or make room otherwise, and try again"
            )


async def keep(
    reserve: Reserve, *, hold_back: Callable[[str], None], resume: Callable[[str], None], log: FilteringBoundLogger
) -> None:
    """Have nothing started while there is a shortage, because what runs needs the rest; until cancelled."""
    short = False
    while True:
        shortage = reserve.shortage()
        if shortage and not short:
            log.warning("disk_short", shortage=shortage)
            hold_back(NO_ROOM)
        elif short and not shortage:
            log.info("disk_has_room")
            resume(NO_ROOM)
        short = bool(shortage)
        await asyncio.sleep(_AMPLE_LOOK_SECONDS if reserve.ample else _LOOK_SECONDS)


def _size(count: int) -> str:
    for unit, size in _UNITS:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
