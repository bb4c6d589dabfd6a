"""Checking what runs against the store: runners and modules of jobs that have ended, or that nobody knows."""

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from time import time

from jobd import procfs, runner
from jobd.finding import Finding
from jobd.jobs import Job
from jobd.layout import StateDirectory
from jobd.store import Store

_DRAIN_SECONDS = 60.0
"""For so long after its job's end a runner may still talk to Prefect."""
_GRACE_SECONDS = 5.0


def check_runners(state: StateDirectory, jobs: Mapping[str, Job]) -> Iterator[Finding]:
    """Find runners that hold the lock of a job that has ended."""
    for job in jobs.values():
        lock = state.job(job.id).runner_lock
        if job.terminal and time() - (job.ended or 0.0) > _DRAIN_SECONDS and runner.is_locked(lock):
            holder = _holder(lock)
            yield Finding(
                where=f"job {job.id}",
                what=f"it has ended, and its runner{f' (process {holder.pid})' if holder else ''} still lives",
                repair="end the runner" if holder else "find out who holds its runner.lock",
                mend=partial(_end, targets=[holder]) if holder else None,
            )


def check_modules(state: StateDirectory, jobs: Mapping[str, Job]) -> Iterator[Finding]:
    """Find processes of modules whose job has ended, or is none of this state directory's any more."""
    for process in procfs.processes():
        job_id, ours = _job_of(process.pid, state)
        job = jobs.get(job_id)
        if job_id and (job.terminal if job else ours):
            yield Finding(
                where=f"process {process.pid}",
                what=f"it belongs to job {job_id}, {'which has ended' if job else 'which does not exist'}",
                repair="end the process",
                mend=partial(_end, targets=[process]),
            )


def _holder(lock: Path) -> procfs.Process | None:
    """Give the runner that a lock names, if it is of this boot and has that very file open."""
    pid, _, boot = lock.read_text(errors="replace").strip().partition(" ")
    if boot != procfs.boot_id() or not pid.isdigit():
        return None
    found, status = procfs.process(int(pid)), lock.stat()
    return found if found and (status.st_dev, status.st_ino) in set(_open_files(found.pid)) else None


def _open_files(pid: int) -> Iterator[tuple[int, int]]:
    try:
        for link in (procfs.PROC / str(pid) / "fd").iterdir():
            status = link.stat()
            yield status.st_dev, status.st_ino
    except OSError:
        return  # it has ended, or closed one in between


def _job_of(pid: int, state: StateDirectory) -> tuple[str, bool]:
    """Give the job that a process is marked with, if any, and whether it was started below this state directory.

    Another daemon's processes carry the same mark, so an unknown job alone says nothing.
    """
    try:
        block = (procfs.PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return "", False
    environment = dict(item.split(b"=", 1) for item in block.split(b"\0") if b"=" in item)
    scratch = os.fsdecode(environment.get(b"TMPDIR", b""))
    roots = (state.jobs, state.jobs.resolve())
    return os.fsdecode(environment.get(b"JOBD_JOB_ID", b"")), any(Path(scratch).is_relative_to(root) for root in roots)


def _end(_store: Store, *, targets: list[procfs.Process]) -> None:
    def living() -> list[procfs.Process]:
        now = ((target, procfs.process(target.pid)) for target in targets)
        return [target for target, found in now if found and found.start_ticks == target.start_ticks]

    procfs.end_all(living, grace=_GRACE_SECONDS)
