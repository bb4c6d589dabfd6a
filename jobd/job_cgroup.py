"""The cgroups of a job, at `<base>/jobd/<job id>`: one for its runner, and one for each attempt that runs.

The runner's is where its children are born. They are moved into their own at once, but that can take the kernel longer
than an interpreter needs to start; what they fork until then is at least in this one, and nothing else of the job is.
"""

import contextlib
import itertools
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from time import time

from jobd import procfs
from jobd.cgroup import CONTROLLERS, Cgroup, base, own_place

log = logging.getLogger("jobd.runner")

_FOLDER = "jobd"
_RUNNER = "runner"

_numbers = itertools.count(1)
_lock = threading.Lock()
"""Attempts come and go in threads of a runner; the folder of their job comes with the first, goes with the last."""
_inhabited: list[Cgroup] = []
"""The runner's own, while it is in it."""


def describe() -> str:
    """Say for people how far modules can be held on this machine."""
    home = base()
    if home is None:
        return "session, subreaper and environment mark (no cgroup v2 can be made); memory by RLIMIT_DATA"
    missing = set(CONTROLLERS) - Cgroup(home).available()
    rest = "memory and processes limited in it" if not missing else f"no controller for {' and '.join(sorted(missing))}"
    return f"cgroup v2 below {home / _FOLDER}, {rest}" + ("; memory by RLIMIT_DATA" if "memory" in missing else "")


@contextlib.contextmanager
def inhabit(job_id: str) -> Iterator[None]:
    """Have this process live in its job's cgroup, so that no child is born outside of it; does without where it must.

    At the end everything else in the job's cgroups is killed and they are removed.
    """
    own, place = _make(job_id, _RUNNER), own_place()
    if own is None or place is None or not _join(own):
        yield
        return
    _inhabited.append(own)
    try:
        yield
    finally:
        _inhabited.remove(own)
        Cgroup(place[1]).add(os.getpid())
        remove_stale(job_id)


def unplaced() -> set[int]:
    """Give the processes that were born in the runner's cgroup and not moved yet."""
    return {member.pid for own in _inhabited for member in own.members()} - {os.getpid()}


def make(job_id: str) -> Cgroup | None:
    """Make a cgroup for one attempt of a job's entry; None where that cannot be done, which is no error."""
    while True:
        # One of that number may be left of an earlier runner.
        with contextlib.suppress(FileExistsError):
            return _make(job_id, str(next(_numbers)))


def _make(job_id: str, name: str) -> Cgroup | None:
    home = base()
    if home is None:
        return None
    job = home / _FOLDER / job_id
    own = job / name
    try:
        with _lock:
            try:
                own.mkdir(exist_ok=name == _RUNNER)
            except FileNotFoundError:
                _prepare(home, job)
                own.mkdir()
    except FileExistsError:
        raise
    except OSError as error:
        # Processes are then found by session and mark, as on machines without cgroups.
        log.warning("cgroup_not_made below=%s error=%s", home, error)
        return None
    return Cgroup(own)


def _prepare(home: Path, job: Path) -> None:
    """Make a job's cgroup, whose first is to be made; what lies above it hands its controllers down."""
    job.parent.mkdir(exist_ok=True)
    job.mkdir(exist_ok=True)
    for path in (home, job.parent, job):
        Cgroup(path).hand_down()


def _join(own: Cgroup) -> bool:
    try:
        own.add(os.getpid())
    except OSError as error:
        log.warning("cgroup_not_joined cgroup=%s error=%s", own.path, error)
        remove(own)
        return False
    return True


def remove(cgroup: Cgroup) -> None:
    """Remove an attempt's cgroup, and the job's with the last one; OutlivesError when something lives on in it."""
    cgroup.remove()
    with _lock, contextlib.suppress(OSError):
        cgroup.path.parent.rmdir()  # refused while it holds others


def remove_stale(job_id: str, *, patience: float = 10.0) -> list[procfs.Process]:
    """Kill what lives in any cgroup of a job that has no runner, and remove them; give what was killed.

    OutlivesError when something outlives that.
    """
    home = base()
    job = Cgroup(home / _FOLDER / job_id) if home else None
    if job is None or not job.path.exists():
        return []
    killed = job.members()
    job.kill()
    job.remove(patience)
    return killed


def remove_abandoned(*, age: float = 60.0) -> int:
    """Remove the cgroups of every job in which nothing lives, and has not for `age` seconds; give how many jobs.

    A runner lives in its job's, so that such a job has none: a daemon that starts clears away what its dead ones left.
    """
    home, count = base(), 0
    for folder in home.glob(f"{_FOLDER}/*/") if home else ():
        job = Cgroup(folder)
        with contextlib.suppress(OSError):  # gone, or come to life, in between
            if time() - folder.stat().st_mtime > age and not job.is_populated():
                job.remove(0)
                count += 1
    return count
