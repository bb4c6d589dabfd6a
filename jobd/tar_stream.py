"""A folder as a tar that is the same each time, and of which any part can be read without making the rest."""

import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 512
_END = b"\0" * (2 * _BLOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A piece of a tar: some bytes, and then those of a file."""

    head: bytes
    path: Path | None = None
    """The file; None where none follows."""
    size: int = 0
    """Of the file, in bytes."""
    identity: str = ""
    """Changes with the file's content."""

    @property
    def length(self) -> int:
        """How many bytes of the tar it is."""
        return len(self.head) + self.size


def list_segments(folder: Path) -> Iterator[Segment]:
    """Give the tar of a folder piece by piece: names sorted and relative to it, nobody's files, links as links."""
    padding = b""
    for path in _walk(folder):
        status = path.lstat()
        head = padding + _describe(path, status, str(path.relative_to(folder)))
        if stat.S_ISREG(status.st_mode):
            yield Segment(head=head, path=path, size=status.st_size, identity=identify(status))
            padding = b"\0" * (-status.st_size % _BLOCK)
        else:
            yield Segment(head=head)
            padding = b""
    yield Segment(head=padding + _END)


def identify(status: os.stat_result) -> str:
    """Give what tells a file's content apart from another that stood or will stand in its place."""
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=_raise):
        folders.sort()
        yield from (Path(parent, name) for name in sorted((*folders, *files)))


def _describe(path: Path, status: os.stat_result, name: str) -> bytes:
    member = tarfile.TarInfo(name)
    member.mtime = int(status.st_mtime)
    if stat.S_ISDIR(status.st_mode):
        member.type, member.mode = tarfile.DIRTYPE, 0o755
    elif stat.S_ISLNK(status.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, str(path.readlink())
    else:
        member.size, member.mode = status.st_size, 0o644 | (status.st_mode & 0o111)
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _raise(error: OSError) -> None:
    raise error
