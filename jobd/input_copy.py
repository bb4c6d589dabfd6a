"""Copying what a caller named by path, from the very descriptors that were checked."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from jobd.artifacts import Stored, check_output, copy_bytes, sync_tree
from jobd.errors import DiskFullError, InvalidInputError, is_disk_full
from jobd.names import quoted
from jobd.roots import Caller, Identity, Roots, identify, reopened
from jobd.trees import MOST_DEPTH, DepthError

MOST_FILES = 1_000_000
"""A folder of more is refused: links that meet can make a small one endless."""
_NO_LINK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class InputCopy:
    """Copies one input. Links in a folder are followed as far as the caller may name what they lead to."""

    def __init__(self, roots: Roots, caller: Caller, *, check_room: Callable[[int], None] = lambda _: None) -> None:
        """Open by `roots`; `check_room` is called with the size of each file and raises when it has no room."""
        self._roots = roots
        self._caller = caller
        self._check_room = check_room
        self._files = 0

    def copy(self, path: str, target: Path) -> Stored:
        """Copy a file or a folder to `target`, sharing blocks where the file system can, and put it on disk.

        PathNotAllowedError, InvalidInputError or DiskFullError say why it cannot be.
        """
        try:
            with self._roots.open(path, self._caller) as fd:
                self._copy(fd, path, target, ())
            sync_tree(target)
        except OSError as error:
            if is_disk_full(error):
                raise DiskFullError(
                    f"{quoted(path)} was not copied: the daemon's disk is full", hint="make room"
                ) from error
            raise InvalidInputError(f"{quoted(path)} cannot be copied: {error.strerror or error}") from error
        return check_output(target, target.name)

    def _copy(self, fd: int, path: str, target: Path, above: tuple[Identity, ...]) -> None:
        status = os.fstat(fd)
        self._count(path, status.st_size)
        if not stat.S_ISDIR(status.st_mode):
            copy_bytes(fd, target)
            return
        if len(above) > MOST_DEPTH:
            raise DepthError
        self._roots.check_kept(fd, path)
        if (own := identify(fd)) in above:
            raise InvalidInputError(f"{quoted(path)} is a link to a folder that holds it")
        target.mkdir(mode=0o700)
        for name in os.listdir(fd):
            self._copy_inner(fd, name, f"{path}/{name}", target / name, (*above, own))

    def _copy_inner(self, folder: int, name: str, path: str, target: Path, above: tuple[Identity, ...]) -> None:
        way = os.open(name, _NO_LINK, dir_fd=folder)
        try:
            if stat.S_ISLNK(os.fstat(way).st_mode):
                with self._roots.open(_destination(folder, way), self._caller) as fd:
                    self._copy(fd, path, target, above)
            else:
                with reopened(way, path) as fd:
                    self._copy(fd, path, target, above)
        finally:
            os.close(way)

    def _count(self, path: str, size: int) -> None:
        self._files += 1
        self._check_room(size)
        if self._files > MOST_FILES:
            raise InvalidInputError(f"{quoted(path)} is one file too many: an input may have {MOST_FILES}")


def _destination(folder: int, link: int) -> str:
    """Give the absolute path that a link means, which is resolved and checked as one that a caller names."""
    return str(Path(f"/proc/self/fd/{folder}").readlink() / os.readlink("", dir_fd=link))
