"""The process that runs one job. It outlives the daemon, and is known to live by the lock it holds."""

import contextlib
import fcntl
import gc
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

from jobd import job_cgroup, journal, procfs, sockets
from jobd.engine import Engine, run_to_end
from jobd.failpoints import failpoint
from jobd.job_run import JobRun
from jobd.journal import Journal
from jobd.layout import JobDirectory, StateDirectory
from jobd.link import Link
from jobd.messages import Assignment, Fork
from jobd.plan import Plan
from jobd.process import end_adopted, signal_name
from jobd.states import JobState
from jobd.warm_hosts import WarmHosts

log = logging.getLogger("jobd.runner")

EXIT_DONE = 0
"""The job's terminal event is in its journal."""
EXIT_NOT_DONE = 70
"""The job could not be brought to its end; the daemon decides what follows."""
EXIT_LOCKED = 75
"""Another runner of this job lives."""
EXIT_STALE = 76
"""It was born so late that the job was ended, or given another runner, meanwhile."""

_ALLOCATIONS = 50_000
"""Objects made before Python looks for garbage; as shipped it looks 70 times as often, and finds next to nothing."""
_LOCK_SECONDS, _LOOK_SECONDS = 1.0, 0.02

Choose = Callable[[int], Engine]
"""Gives the engine when everything else is ready; sooner when the descriptor is readable, as the job is to stop."""


def run_job(state: StateDirectory, wish: Fork, choose: Choose) -> int:
    """Run a job to its end in this process, by an engine or, if that breaks down, without; give an exit code."""
    job_id = wish.job_id
    directory = state.job(job_id)
    with _lock(directory.runner_lock) as locked:
        if not locked:
            return EXIT_LOCKED
        if not directory.assignment.exists() or _assignment(directory).launch != wish.launch:
            return EXIT_STALE
        # What modules start must not get away; all this holds for the threads that are started after it.
        gc.set_threshold(_ALLOCATIONS)
        procfs.become_subreaper()
        procfs.forbid_new_privileges()
        with job_cgroup.inhabit(job_id):
            verdict = _run_in(state, job_id, choose)
        return EXIT_DONE if verdict is not None else EXIT_NOT_DONE


def _assignment(directory: JobDirectory) -> Assignment:
    return Assignment.model_validate_json(directory.assignment.read_bytes())


def _run_in(state: StateDirectory, job_id: str, choose: Choose) -> JobState | None:
    directory = state.job(job_id)
    failpoint("runner.locked")
    plan = Plan.model_validate_json(directory.plan.read_bytes())
    assignment = _assignment(directory)
    link = Link(state.run / sockets.RUNNERS, job_id)
    hosts = WarmHosts(plan)

    def clear() -> None:
        hosts.close()
        end_adopted()

    try:
        past = journal.read_all(directory.journal)
        with (
            _doorbell(state.run / sockets.DOORBELL, job_id) as ring,
            Journal(directory.journal, end=past.offset) as lines,
        ):
            run = JobRun(
                plan=plan,
                assignment=assignment,
                directory=directory,
                journal=lines,
                link=link,
                ring=ring,
                clear=clear,
                hosts=hosts,
                past=[told.event for told in past.occurrences],
            )
            run.prepare()
            return run_to_end(run, choose(link.wake_fd))
    finally:
        failpoint("runner.done")
        hosts.close()
        link.close()


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[bool]:
    deadline = monotonic() + _LOCK_SECONDS
    while is_locked(path) and monotonic() < deadline:
        sleep(_LOOK_SECONDS)  # the daemon may only be looking whether somebody holds it
    with hold(path) as fd:
        if fd is not None:
            os.ftruncate(fd, 0)
            os.write(fd, f"{os.getpid()} {procfs.boot_id()}\n".encode())
        yield fd is not None


@contextlib.contextmanager
def hold(path: Path) -> Iterator[int | None]:
    """Hold the lock of a job's runner within the block, which proves that none lives; None when one does."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield None
    else:
        yield fd
    finally:
        os.close(fd)


def is_locked(path: Path) -> bool:
    """Tell whether a runner lives that holds this lock."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def describe(status: int) -> str:
    """Say what an exit status of a runner means: an exit code, or minus the number of a signal."""
    return f"exit code {status}" if status >= 0 else signal_name(-status)


@contextlib.contextmanager
def _doorbell(path: Path, job_id: str) -> Iterator[Callable[[], None]]:
    bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    address, word = f"/proc/self/fd/{folder}/{path.name}", job_id.encode()

    def ring() -> None:
        # Nobody there, or too busy to listen: the daemon also looks by itself.
        with contextlib.suppress(OSError):
            bell.sendto(word, address)

    with bell:
        yield ring
    os.close(folder)


def configure_logging() -> None:
    """Send this process's own log to its standard error, which is its log file."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each call to Prefect's API
