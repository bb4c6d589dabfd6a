"""Removing what a job or an upload left on disk."""

import errno
import os
import shutil
from pathlib import Path

from jobd.layout import StateDirectory
from jobd.store import Store

_TRIES = 20
"""Who tidies up has a handful of things to remove, and is through with them before these are."""


def delete_job(state: StateDirectory, store: Store, job_id: str) -> int:
    """Remove a job that has ended with all that is kept of it, and give how many bytes its folder took.

    JobNotFoundError or JobNotEndedError when it cannot be. The rows are gone first: a folder that a crash leaves behind
    belongs to no job, and goes at the next start.
    """
    store.delete(job_id).result()
    return remove_tree(state.job(job_id).root)


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
        _remove_folder(path)
    else:
        path.unlink(missing_ok=True)
    return freed


def _remove_folder(path: Path) -> None:
    """Remove a folder in which somebody else may just be tidying up: a job's when its runner has just ended."""
    for tries_left in reversed(range(_TRIES)):
        try:
            shutil.rmtree(path)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENOTEMPTY} or not tries_left:
                raise
        if not path.exists():
            return


def trim_log(path: Path, most: int) -> None:
    """Keep only the latest half of `most` bytes of a log that is longer; its writer must write with O_APPEND.

    A line that is written during it may be lost, which a log of this kind can bear.
    """
    if not path.exists() or path.stat().st_size <= most:
        return
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        size = os.fstat(fd).st_size
        tail = os.pread(fd, most // 2, size - most // 2)
        os.ftruncate(fd, 0)
        os.pwrite(fd, tail.partition(b"\n")[2] or tail, 0)
    finally:
        os.close(fd)
