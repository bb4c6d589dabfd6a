"""A folder that arrived as a tar, or that is there already."""

import errno
import lzma
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

from jobd.artifacts import OutputError, check_output, sync_tree
from jobd.errors import InvalidInputError
from jobd.trees import discard

try:
    from backports import tarfile  # before Python 3.11.4 the standard one knows no filters
except ImportError:
    import tarfile

_UNFIT = (
    tarfile.TarError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    OutputError,
    # Of times that are no times, names that are none, and folders in folders without end.
    ValueError,
    OverflowError,
    RecursionError,
)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def unpack(archive: Path, folder: Path, check_room: Callable[[int], None]) -> None:
    """Make a folder of a tar, put it on disk, and remove the tar; InvalidInputError when it cannot be used.

    It may be far larger than a tar that is compressed: `check_room` is asked before each file.
    """
    sizes: dict[str, int] = {}

    def check(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        # A second name for a file becomes a file of its own, so that nobody changes one through the other.
        sizes[member.name] = sizes.get(member.linkname, 0) if member.islnk() else member.size
        check_room(sizes[member.name])
        # The filter refuses devices, links and paths that lead out of the folder.
        return tarfile.data_filter(member, path)

    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter=check)  # noqa: S202 - the filter is the safe one, and more
        check_output(folder, "the folder")
        sync_tree(folder)
        archive.unlink()
    except _UNFIT as error:
        raise InvalidInputError(f"the folder's tar cannot be unpacked: {error}") from error
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise InvalidInputError(f"the folder's tar cannot be unpacked: {error.strerror or error}") from error
    finally:
        if archive.exists():
            discard(folder)


def link(source: Path, target: Path) -> None:
    """Give a file, or a folder with all it holds, a second name; their bytes are there once. OSError."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=os.link, symlinks=True)
    else:
        os.link(source, target)
