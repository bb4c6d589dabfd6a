"""A folder that arrived as a tar, or that is there already."""

import errno
import lzma
import os
import shutil
import zlib
from pathlib import Path

from jobd.artifacts import OutputError, check_output, sync_tree
from jobd.errors import InvalidInputError

try:
    from backports import tarfile  # before Python 3.11.4 the standard one knows no filters
except ImportError:
    import tarfile

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def unpack(archive: Path, folder: Path) -> None:
    """Make a folder of a tar, put it on disk, and remove the tar; InvalidInputError when it cannot be used."""
    shutil.rmtree(folder, ignore_errors=True)  # what a try that a full disk ended has left
    try:
        with tarfile.open(archive) as tar:
            # The filter refuses devices, links and paths that lead out of the folder.
            tar.extractall(folder, filter="data")
        archive.unlink()
        check_output(folder, "the folder")
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OutputError) as error:
        raise InvalidInputError(f"the folder's tar cannot be unpacked: {error}") from error
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise InvalidInputError(f"the folder's tar cannot be unpacked: {error.strerror}") from error
    sync_tree(folder)


def link(source: Path, target: Path) -> None:
    """Give a file, or a folder with all it holds, a second name; their bytes are there once. OSError."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=os.link, symlinks=True)
    else:
        os.link(source, target)
