"""A folder as a stream of tar bytes, made on the fly."""

import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

from jobctl.errors import InvalidInputError, LocalFileError

_BLOCK = 512


def read_tar(folder: Path, chunk: int, offset: int = 0) -> Iterator[bytes]:
    """Yield the tar of a folder from byte `offset` on, in pieces of at most `chunk`.

    Its files are named relative to it, in a fixed order: the tar is the same as long as the folder is. A link to a file
    is taken as the file. Raises `InvalidInputError` for what is neither a file nor a folder, and for a file that
    changes its size meanwhile.
    """
    for data in _make_tar(folder, chunk):
        if offset < len(data):
            yield data[offset:] if offset else data
        offset = max(0, offset - len(data))


def _make_tar(folder: Path, chunk: int) -> Iterator[bytes]:
    for path, name in _walk(folder):
        information = _describe(path, name)
        yield information.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        if information.isreg():
            yield from _read_exactly(path, information.size, chunk)
            yield b"\0" * (-information.size % _BLOCK)
    yield b"\0" * (2 * _BLOCK)


def read_file(path: Path, chunk: int, offset: int = 0) -> Iterator[bytes]:
    """Yield the bytes of a file from byte `offset` on, in pieces of at most `chunk`; raise `LocalFileError`."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            while data := file.read(chunk):
                yield data
    except OSError as error:
        raise LocalFileError(f"cannot read {path}: {error.strerror}") from error


def measure(path: Path) -> int:
    """Give the number of bytes of a file, or of all files below a folder; raise `LocalFileError`."""
    try:
        if path.is_dir():
            return sum(item.stat().st_size for item, _ in _walk(path) if item.is_file())
        return path.stat().st_size
    except OSError as error:
        raise LocalFileError(f"cannot read {path}: {error.strerror}") from error


def _walk(folder: Path) -> Iterator[tuple[Path, str]]:
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        folders.sort()
        for name in sorted((*folders, *files)):
            path = Path(parent, name)
            if path.is_symlink() and path.is_dir():
                raise InvalidInputError(f"{path} is a link to a folder", hint="put the folder itself there")
            yield path, str(path.relative_to(folder))


def _describe(path: Path, name: str) -> tarfile.TarInfo:
    try:
        status = path.stat()
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}") from error
    information = tarfile.TarInfo(name)
    information.mtime = int(status.st_mtime)
    if stat.S_ISDIR(status.st_mode):
        information.type, information.mode = tarfile.DIRTYPE, 0o755
    elif stat.S_ISREG(status.st_mode):
        information.size, information.mode = status.st_size, 0o644 | (status.st_mode & 0o111)
    else:
        raise InvalidInputError(f"{path} is neither a file nor a folder")
    return information


def _read_exactly(path: Path, size: int, chunk: int) -> Iterator[bytes]:
    count = 0
    for data in read_file(path, chunk):
        count += len(data)
        if count > size:
            break
        yield data
    if count != size:
        raise InvalidInputError(f"{path} changed while it was read", hint="try again when nothing writes to it")


def _refuse(error: OSError) -> None:
    raise InvalidInputError(f"cannot read {error.filename}: {error.strerror}") from error
