"""Files and folders with all that they hold, however deep: how large they are, and their removal.

Modules make what they like. Python's own ways through a tree call themselves for each folder in a folder, and break
down in one of a thousand.
"""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

MOST_DEPTH = 200
"""Folders within folders that an artifact may have: whoever copies or sends it has to get through."""
_TRIES = 20
"""Who tidies up has a handful of things to remove, and is through with them before these are."""
_OWN = 0o700


class DepthError(OSError):
    """There are more folders within folders than there may be."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__(errno.ENAMETOOLONG, f"its folders are more than {MOST_DEPTH} deep")


def walk(root: Path) -> Iterator[Path]:
    """Give everything in a folder, and in those in it; links are not followed. OSError; DepthError beyond the bound."""
    folders = [(root, 1)]
    while folders:
        folder, depth = folders.pop()
        with os.scandir(folder) as found:
            entries = list(found)
        for entry in entries:
            path = Path(entry.path)
            yield path
            if entry.is_dir(follow_symlinks=False):
                if depth >= MOST_DEPTH:
                    raise DepthError
                folders.append((path, depth + 1))


def tree_size(path: Path) -> int:
    """Add up the bytes of a file, or of all files in a folder that can be seen; 0 when there is nothing."""
    size = path.lstat().st_size if path.is_file() or path.is_symlink() else 0
    folders = [str(path)]
    while folders:
        for entry in _entries(folders.pop()):
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
                continue
            with contextlib.suppress(OSError):  # removed by somebody else in between
                size += entry.stat(follow_symlinks=False).st_size
    return size


def remove_tree(path: Path) -> int:
    """Remove a file or a folder with all it holds, if it is there, and give how many bytes that frees."""
    freed = tree_size(path)
    if path.is_dir() and not path.is_symlink():
        remove_folder(path)
    else:
        path.unlink(missing_ok=True)
    return freed


def discard(folder: Path) -> None:
    """Remove a folder with all it holds, if it is there, as far as that can be; `jobd check` finds what stays."""
    with contextlib.suppress(OSError):
        remove_folder(folder)


def remove_folder(path: Path) -> None:
    """Remove a folder with all it holds, if it is there; OSError when something of it cannot be: the rest is gone.

    Somebody else may just be tidying up in it: a job's when its runner has just ended. And what it holds may be closed
    to its own owner, or too deep to be reached, as modules make folders.
    """
    for tries_left in reversed(range(_TRIES)):
        try:
            shutil.rmtree(path)
        except (OSError, RecursionError) as error:
            if not tries_left or not _is_mended(error, path):
                with contextlib.suppress(RecursionError):
                    shutil.rmtree(path, ignore_errors=True)  # all that can be
                raise error if isinstance(error, OSError) else DepthError from error
        if not path.exists():
            return


def _is_mended(error: OSError | RecursionError, root: Path) -> bool:
    """Tell whether it is worth another try."""
    if isinstance(error, OSError) and error.errno in {errno.ENOENT, errno.ENOTEMPTY}:
        return True
    hindered = isinstance(error, PermissionError | RecursionError) or error.errno in {errno.EMFILE, errno.ENAMETOOLONG}
    return hindered and _loosen(root)


def _loosen(root: Path) -> bool:
    """Open every folder to its owner, and move those in folders up to the top; tell whether that changed anything.

    Nothing is done but in folders that were opened as such: somebody may put a link in the place of one meanwhile.
    """
    changed, folders = _give_back(str(root)), [str(root)]
    while folders:
        folder = folders.pop()
        with _opened(folder) as fd:
            for name in _folders_in(fd):
                changed |= _give_back(name, fd)  # to be moved, a folder must be open itself
                if folder == str(root):
                    folders.append(f"{root}/{name}")
                    continue
                with contextlib.suppress(OSError):  # somebody else's
                    place = f"{root}/.{secrets.token_hex(8)}"
                    os.rename(name, place, src_dir_fd=fd)
                    folders.append(place)
                    changed = True
    return changed


@contextlib.contextmanager
def _opened(folder: str) -> Iterator[int | None]:
    """Open a folder within the block; None when it is none, is closed, or has gone."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def _folders_in(fd: int | None) -> list[str]:
    if fd is None:
        return []
    with os.scandir(fd) as found:
        return [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]


def _entries(folder: str) -> list["os.DirEntry[str]"]:
    """Give what a folder holds; nothing when it is none, is closed, or has gone."""
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []


def _give_back(folder: str, beside: int | None = None) -> bool:
    """Give the owner every right to a folder; tell whether one was missing and could be given."""
    try:
        fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=beside)
    except OSError:  # gone, or a link to a folder by now
        return False
    try:
        mode = os.fstat(fd).st_mode
        if mode & _OWN == _OWN:
            return False
        os.chmod(f"/proc/self/fd/{fd}", mode | _OWN)  # noqa: PTH101 - no link is followed on the way
    except OSError:  # somebody else's
        return False
    else:
        return True
    finally:
        os.close(fd)
