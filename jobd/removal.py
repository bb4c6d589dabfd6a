"""Removing what a job or an upload left on disk."""

import os
from pathlib import Path

from jobd.layout import StateDirectory
from jobd.store import Store
from jobd.trees import remove_tree


def delete_job(state: StateDirectory, store: Store, job_id: str) -> int:
    """Remove a job that has ended with all that is kept of it, and give how many bytes its folder took.

    JobNotFoundError or JobNotEndedError when it cannot be. The rows are gone first: a folder that a crash leaves behind
    belongs to no job, and goes at the next start.
    """
    store.delete(job_id).result()
    return remove_tree(state.job(job_id).root)


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
