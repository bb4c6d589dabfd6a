"""The artifacts of one job on disk. Nothing outside this file knows that they are local files.

An artifact appears under its name whole or not at all: it is checked and synced where it was made, then renamed.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from jobd.errors import DiskFullError, InvalidInputError, JobdError, is_disk_full
from jobd.events import FailureKind
from jobd.failpoints import failpoint
from jobd.layout import sync_directory
from jobd.names import ascii_controls
from jobd.roots import kind
from jobd.trees import DepthError, remove_folder, walk

_FICLONE = 0x40049409


class OutputError(JobdError):
    """An output of a module cannot be taken."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        """Hold the class of the failure."""
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A whole artifact."""

    size_bytes: int
    """Its size; of a folder, the sum of its files."""
    folder: bool


class ArtifactStore:
    """The artifacts in one folder."""

    def __init__(self, folder: Path) -> None:
        """Serve `folder`, which exists or will."""
        self._folder = folder

    def path(self, name: str) -> Path:
        """Give the path under which a module finds or a download reads an artifact."""
        return self._folder / name

    def names(self) -> set[str]:
        """Give the names of all artifacts that are there."""
        return {path.name for path in self._folder.iterdir()} if self._folder.exists() else set()

    def publish(self, source: Path, name: str) -> None:
        """Take what stands at `source` and was checked, by renaming: both must be on one file system."""
        sync_tree(source)
        target = self.path(name)
        failpoint("publish.synced")
        self._remove(target)  # what an earlier attempt published before its runner died
        source.rename(target)
        failpoint("publish.renamed")
        sync_directory(self._folder)

    def remove(self, name: str) -> None:
        """Remove an artifact; nothing happens when it is not there."""
        self._remove(self.path(name))

    @staticmethod
    def _remove(path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(path.lstat().st_mode):
                remove_folder(path)
            else:
                path.unlink()


def check_output(source: Path, name: str) -> Stored:
    """Check that an output is a regular file, or a folder of regular files with no link out of it."""
    try:
        status = source.lstat()
    except FileNotFoundError:
        raise OutputError(FailureKind.MISSING_OUTPUT, f"the module ended well but did not make {name!r}") from None
    if stat.S_ISREG(status.st_mode):
        make_sole_owner(source, status)
        return Stored(size_bytes=status.st_size, folder=False)
    if not stat.S_ISDIR(status.st_mode):
        raise OutputError(FailureKind.INVALID_OUTPUT, f"{name!r} is {kind(status.st_mode)}, not a file or a folder")
    try:
        size = _check_folder(source, name)
    except DepthError as error:
        raise OutputError(FailureKind.INVALID_OUTPUT, f"{name!r} cannot be taken: {error.strerror}") from error
    return Stored(size_bytes=size, folder=True)


def _check_folder(source: Path, name: str) -> int:
    size = 0
    for path in walk(source):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode):
            make_sole_owner(path, status)
            size += status.st_size
        elif not stat.S_ISDIR(status.st_mode) and not _is_inner_link(path, status, source):
            inner = path.relative_to(source)
            raise OutputError(
                FailureKind.INVALID_OUTPUT, f"{name!r} holds {kind(status.st_mode)}: {ascii_controls(str(inner))}"
            )
    return size


def copy_in(source: Path, target: Path) -> Stored:
    """Copy a file or folder that the daemon keeps to `target`, sharing blocks where the file system can.

    Links within a folder stay links: what follows them can be led in circles. InvalidInputError when it cannot be read,
    or holds something other than files, folders and such links.
    """
    try:
        status = source.stat()
        if stat.S_ISDIR(status.st_mode):
            shutil.copytree(source, target, copy_function=_copy_file, symlinks=True)
        elif stat.S_ISREG(status.st_mode):
            _copy_file(source, target)
        else:
            raise InvalidInputError(f"{source} is {kind(status.st_mode)}, not a file or a folder")
        sync_tree(target)
        return check_output(target, target.name)
    except OutputError as error:
        raise InvalidInputError(error.message) from error
    except RecursionError:
        raise InvalidInputError(f"{source} cannot be copied: {DepthError().strerror}") from None
    except (OSError, shutil.Error) as error:
        if is_disk_full(error) or "[Errno 28]" in str(error):  # a folder's copy tells its errors as text
            raise DiskFullError(f"{source} could not be copied: the daemon's disk is full", hint="make room") from error
        raise InvalidInputError(f"{source} cannot be copied: {_plain(error)}") from error


def _plain(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _copy_file(source: str | Path, target: str | Path, *, link: int = 0) -> str | Path:
    # O_NONBLOCK: opening a FIFO must not wait for a writer that never comes.
    fd = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | link)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InvalidInputError(f"{source} is not a regular file")
        copy_bytes(fd, Path(target))
    finally:
        os.close(fd)
    return target


def copy_bytes(fd: int, target: Path) -> None:
    """Copy an open file to a new one, sharing blocks where the file system can; OSError."""
    with os.fdopen(os.dup(fd), "rb") as reader, target.open("xb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        except OSError:  # another file system, or one that cannot share blocks
            shutil.copyfileobj(reader, writer, 1 << 20)


def shares_blocks(folder: Path) -> bool:
    """Tell whether copies on a folder's file system take no room, by making one."""
    try:
        with tempfile.TemporaryFile(dir=folder) as one, tempfile.TemporaryFile(dir=folder) as other:
            one.write(bytes(4096))
            one.flush()
            fcntl.ioctl(other.fileno(), _FICLONE, one.fileno())
    except OSError:
        return False
    return True


def make_sole_owner(path: Path, status: os.stat_result) -> None:
    """Part a hard-linked file from its other names, through which it could change later."""
    if status.st_nlink > 1:
        copy = path.with_name(f".{secrets.token_hex(8)}.own")
        _copy_file(path, copy, link=os.O_NOFOLLOW)
        copy.replace(path)


def _is_inner_link(path: Path, status: os.stat_result, root: Path) -> bool:
    if not stat.S_ISLNK(status.st_mode) or path.readlink().is_absolute():
        return False
    try:
        return path.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # it leads nowhere, or to itself
        return False


def sync_tree(root: Path) -> None:
    """Put a file, or a folder with all it holds, on disk."""
    if root.is_dir():
        for path in [root, *walk(root)]:
            if not path.is_symlink():
                _sync(path)
    else:
        _sync(root)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
