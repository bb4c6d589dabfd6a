"""Files and folders with all that they hold: how large they are, and their removal."""

import errno
import os
import shutil
from pathlib import Path

_TRIES = 20
"""Who tidies up has a handful of things to remove, and is through with them before these are."""
_OWN = 0o700


def tree_size(path: Path) -> int:
    """Add up the bytes of a file, or of all files in a folder; 0 when there is nothing."""
    size = path.lstat().st_size if path.is_file() or path.is_symlink() else 0
    for folder, _folders, files in os.walk(path):
        for name in files:
            try:
                size += Path(folder, name).lstat().st_size
            except FileNotFoundError:
                continue  # removed by somebody else in between
    return size


def remove_tree(path: Path) -> int:
    """Remove a file or a folder with all it holds, if it is there, and give how many bytes that frees."""
    freed = tree_size(path)
    if path.is_dir() and not path.is_symlink():
        remove_folder(path)
    else:
        path.unlink(missing_ok=True)
    return freed


def remove_folder(path: Path) -> None:
    """Remove a folder with all it holds, if it is there; OSError when something of it cannot be: the rest is gone.

    Somebody else may just be tidying up in it: a job's when its runner has just ended. And what it holds may be closed
    to its own owner, as modules make folders.
    """
    for tries_left in reversed(range(_TRIES)):
        try:
            shutil.rmtree(path)
        except OSError as error:
            if not tries_left or not _is_mended(error, path):
                shutil.rmtree(path, ignore_errors=True)  # all that can be
                raise
        if not path.exists():
            return


def _is_mended(error: OSError, root: Path) -> bool:
    """Tell whether it is worth another try."""
    return _open_up(root) if isinstance(error, PermissionError) else error.errno in {errno.ENOENT, errno.ENOTEMPTY}


def _open_up(root: Path) -> bool:
    """Give the owner back every right to a folder and those in it; tell whether one was missing."""
    found = _give_back(root)
    for folder, folders, _files in os.walk(root):
        for name in folders:
            found |= _give_back(Path(folder, name))
    return found


def _give_back(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):  # gone, or a link to a folder
        return False
    try:
        mode = os.fstat(fd).st_mode
        if mode & _OWN == _OWN:
            return False
        os.chmod(f"/proc/self/fd/{fd}", mode | _OWN)  # noqa: PTH101 - no link is followed on the way
        return True
    finally:
        os.close(fd)
