"""Which files callers may name by path, and opening them so that what was checked is what is read.

A path is resolved first and checked then; afterwards each of its components is opened below the one before, and none
may be a link any more. So nobody can put another file in its place between the check and the copy.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jobd.errors import InvalidInputError, PathNotAllowedError
from jobd.names import quoted

_UPLOAD_HINT = "upload the file, as `jobctl submit` does by itself, or have the operator set --allow-root"
_WAY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
"""Opens nothing yet: a device or a pipe is only looked at."""

Identity = tuple[int, int]
"""The device and the inode of a file."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever names a path."""

    same_user: bool
    """Whether it came over the unix socket, which only the daemon's own user can open."""


class Roots:
    """The folders below which callers may name files.

    Where none is set, callers over the unix socket may name any file, and others none. What the daemon keeps itself
    can never be named.
    """

    def __init__(self, allowed: Iterable[Path] = (), *, kept: Iterable[Path] = ()) -> None:
        """Allow what lies below one of `allowed`, but nothing in the folders `kept`."""
        self._allowed = tuple(allowed)
        self._kept = tuple(kept)

    def resolve(self, path: str, caller: Caller) -> Path:
        """Give the path without links; InvalidInputError, or PathNotAllowedError, whether it exists or not."""
        if not Path(path).is_absolute():
            raise InvalidInputError(f"{quoted(path)} is not an absolute path")
        if "\0" in path:
            raise InvalidInputError(f"{quoted(path)} has a zero byte in it")
        if not self._allowed and not caller.same_user:
            message = "input files cannot be named by path over TCP: no folder is allowed for that"
            raise PathNotAllowedError(message, hint=_UPLOAD_HINT)
        resolved = Path(os.path.realpath(path))
        if self._allowed and not any(resolved.is_relative_to(os.path.realpath(root)) for root in self._allowed):
            message = f"{quoted(path)} does not lie in a folder from which input files may be taken"
            raise PathNotAllowedError(message, hint=_UPLOAD_HINT)
        return resolved

    @contextlib.contextmanager
    def open(self, path: str, caller: Caller) -> Iterator[int]:
        """Open a regular file or a folder for reading, within the block; errors as of `resolve`.

        Nothing else is ever opened, so that no pipe blocks and no device does what opening it makes it do.
        """
        resolved = self.resolve(path, caller)
        way = self._walk(resolved, path)
        try:
            with reopened(way, path) as fd:
                yield fd
        finally:
            os.close(way)

    def check_kept(self, fd: int, path: str) -> None:
        """Raise InvalidInputError when the descriptor is one of the folders that the daemon keeps."""
        if self._kept and identify(fd) in set(self._identities()):
            raise InvalidInputError(f"{quoted(path)} leads into what the daemon keeps itself", hint="copy it first")

    def _identities(self) -> Iterator[Identity]:
        for folder in self._kept:
            with contextlib.suppress(FileNotFoundError):
                status = folder.stat()
                yield status.st_dev, status.st_ino

    def _walk(self, resolved: Path, path: str) -> int:
        fd = os.open("/", _WAY | os.O_DIRECTORY)
        try:
            for part in resolved.parts[1:]:
                below = _step(fd, part, path)
                os.close(fd)
                fd = below
                self.check_kept(fd, path)
        except BaseException:
            os.close(fd)
            raise
        return fd


def _step(fd: int, name: str, path: str) -> int:
    try:
        below = os.open(name, _WAY, dir_fd=fd)
    except OSError as error:
        raise InvalidInputError(f"{quoted(path)} cannot be read: {error.strerror}") from error
    if stat.S_ISLNK(os.fstat(below).st_mode):
        os.close(below)
        raise InvalidInputError(f"{quoted(path)} changed while it was opened: {quoted(name)} became a link")
    return below


@contextlib.contextmanager
def reopened(way: int, path: str) -> Iterator[int]:
    """Open for reading, within the block, what a descriptor of the kind O_PATH stands for; InvalidInputError."""
    mode = os.fstat(way).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InvalidInputError(f"{quoted(path)} is {kind(mode)}, not a file or a folder")
    try:
        fd = os.open(f"/proc/self/fd/{way}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidInputError(f"{quoted(path)} cannot be read: {error.strerror}") from error
    try:
        yield fd
    finally:
        os.close(fd)


def identify(fd: int) -> Identity:
    """Give what tells this file from every other one."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def kind(mode: int) -> str:
    """Say what a file is, by its mode, as in `a pipe`."""
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFBLK: "a device",
        stat.S_IFCHR: "a device",
        stat.S_IFDIR: "a folder",
        stat.S_IFREG: "a regular file",
    }
    return kinds.get(stat.S_IFMT(mode), "something unknown")
