"""Where the bytes of an artifact are until all of them are there: in a folder beside the target."""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from jobctl.errors import LocalFileError

_BYTES, _ORIGIN, _UNPACKED, _REPLACED = "bytes", "origin.json", "unpacked", "replaced"
_OURS = frozenset({_BYTES, _ORIGIN, _UNPACKED, _REPLACED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What the bytes of a part are of; those of the same origin fit together."""

    job_id: str
    """The job, as it was asked for."""
    name: str
    """The artifact."""
    version: str
    """The daemon's word for its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The folder, and in it the file that is open for reading and writing."""

    folder: Path
    """Holds everything of an unfinished download."""
    file: BinaryIO
    """What has arrived, from the artifact's first byte on."""

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self.folder / _BYTES

    @property
    def unpacked(self) -> Path:
        """A place for what the file is unpacked into."""
        return self.folder / _UNPACKED

    @property
    def replaced(self) -> Path:
        """A place for what was at the target."""
        return self.folder / _REPLACED

    def read_origin(self) -> Origin | None:
        """Tell what the bytes are of; None where that is not known."""
        try:
            return Origin(**json.loads((self.folder / _ORIGIN).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def note(self, origin: Origin) -> None:
        """Write down what the bytes that come are of."""
        (self.folder / _ORIGIN).write_text(json.dumps(asdict(origin)), encoding="utf-8")

    def clear(self) -> None:
        """Forget the bytes, and first what they are of."""
        (self.folder / _ORIGIN).unlink(missing_ok=True)
        self.file.seek(0)
        self.file.truncate()

    def remove(self) -> None:
        """Remove everything, the folder last; an error is not worth more than the download."""
        for name in (_UNPACKED, _REPLACED):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        with contextlib.suppress(OSError):
            for name in (_ORIGIN, _BYTES):
                (self.folder / name).unlink(missing_ok=True)
            self.folder.rmdir()


def name_part(target: Path) -> Path:
    """Tell where the part of a target is kept for the next run."""
    return target.with_name(f"{target.name}.part")


def find_part(target: Path) -> int | None:
    """Give the number of bytes that an unfinished download has left for the next run; None where there is none."""
    folder = name_part(target)
    try:
        return (folder / _BYTES).stat().st_size if (folder / _ORIGIN).is_file() else None
    except OSError:
        return None


def open_part(target: Path, *, lasting: bool, keep: Callable[[BaseException], bool]) -> AbstractContextManager[Part]:
    """Open the part of a target; where it is `lasting`, that of an earlier run, and one that a later run may find.

    At the end of the block it is removed, but for a lasting one when an error ends the block that is to `keep` it.
    Where its place is taken by something else, none can last. Raises `LocalFileError` while another process has it.
    """
    folder = name_part(target)
    return _open_lasting(folder, keep) if lasting and _claim(folder) else _open_passing(target.parent)


@contextmanager
def _open_passing(parent: Path) -> Iterator[Part]:
    with (
        tempfile.TemporaryDirectory(prefix=".jobctl-", dir=parent) as folder,
        (Path(folder) / _BYTES).open("w+b") as file,
    ):
        yield Part(folder=Path(folder), file=file)


@contextmanager
def _open_lasting(folder: Path, keep: Callable[[BaseException], bool]) -> Iterator[Part]:
    with _open_locked(folder) as file:
        part = Part(folder=folder, file=file)
        try:
            yield part
        except BaseException as error:
            file.flush()
            if not (keep(error) and part.read_origin() and part.path.stat().st_size):
                part.remove()
            raise
        part.remove()


def _claim(folder: Path) -> bool:
    """Make the folder, or find it; False where its place cannot be had."""
    try:
        folder.mkdir()
    except FileExistsError:
        return not folder.is_symlink() and folder.is_dir() and _OURS.issuperset(path.name for path in folder.iterdir())
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise
    return True


def _open_locked(folder: Path) -> BinaryIO:
    path = folder / _BYTES
    while True:
        folder.mkdir(exist_ok=True)  # whoever had the lock may have come to its end and removed all
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            if _lock(fd, folder):
                return os.fdopen(fd, "r+b")
            os.close(fd)


def _lock(fd: int, folder: Path) -> bool:
    """Lock the file; False when it is not the folder's any more, `LocalFileError` when another process has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise LocalFileError(
            f"another download is writing to {folder}", hint="let it end, or choose another folder with --to"
        ) from error
    try:
        return os.path.samestat(os.fstat(fd), (folder / _BYTES).stat())
    except FileNotFoundError:  # whoever had the lock has removed it, or moved it to its target
        return False
