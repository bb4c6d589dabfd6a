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

    def check(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        check_room(member.size)
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
            shutil.rmtree(folder, ignore_errors=True)


def link(source: Path, target: Path) -> None:
    """Give a file, or a folder with all it holds, a second name; their bytes are there once. OSError."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=os.link, symlinks=True)
    else:
        os.link(source, target)
