"""One module process: started in a session of its own with its output straight to a file, waited for, and ended."""

import contextlib
import logging
import os
import resource
import select
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from jobd import job_cgroup, procfs, warm_process
from jobd.cgroup import Cgroup
from jobd.limits import NO_LIMITS, PROCESSES, Limits

_logger = logging.getLogger("jobd.runner")

Fork = Callable[[int], warm_process.Parked | None]
"""Forks a process that writes to the log of this descriptor from a warm interpreter; None when there is none."""


class Awaited(StrEnum):
    """What a wait came to."""

    END = "end"
    WAKE = "wake"
    TIME = "time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a process ended."""

    code: int | None
    """Its exit code; None when a signal ended it."""
    signal: int | None
    """The number of the signal that ended it; None when it exited."""
    cpu_seconds: float
    """Processor time it and its waited-for children used."""
    max_rss_bytes: int | None = None
    """The most memory that it or one of its waited-for children held; None where it is not known."""


class ModuleProcess:
    """A running module. Its end is the end of its process; what it leaves behind is killed."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: Path,
        mark: bytes,
        cgroup: Cgroup | None = None,
        limits: Limits = NO_LIMITS,
        fork: Fork | None = None,
    ) -> None:
        """Start it; OSError when that fails. `mark` is the NAME=value in `env` by which its descendants are known.

        The cgroup is its own from here on, and removed at the end. With `fork`, what that gives is used if it can be.
        """
        self._mark = mark
        self._places = (f"{cwd}", f"{log}")
        self._cgroup = cgroup
        self._limits = limits
        self._limited: bool | None = None
        self._oom_kills = 0
        self._peak = 0
        self._own_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        self._exit: Exit | None = None
        self._outlives = False
        try:
            with _opened(log) as fd:
                self._parked = fork(fd) if fork is not None else None
                self._process = None if self._parked is not None else _spawn(argv, cwd, env, fd)
        except OSError:
            self._remove_cgroup()
            raise
        self.pid = self._parked.pid if self._parked is not None else self._process.pid if self._process else 0
        self._pidfd = self._open_pidfd()
        try:
            if self._parked is not None:
                self._contain_one(self.pid, born=self._parked.placed)
                self._parked.go(argv, cwd, env)
            else:
                self._contain()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def wait(self, seconds: float, wake_fd: int) -> Awaited:
        """Wait for its end, for `wake_fd` to become readable, or for the time to be up, and tell which it was."""
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        poller.register(wake_fd, select.POLLIN)
        ready = {fd for fd, _event in poller.poll(seconds * 1000)}
        if self._pidfd in ready:
            return Awaited.END
        self._peak = max(self._peak, procfs.peak_memory(self.pid))
        return Awaited.WAKE if wake_fd in ready else Awaited.TIME

    def end(self, grace: float, *, meanwhile: Callable[[], None] = lambda: None) -> list[procfs.Process]:
        """Have the whole tree end: SIGTERM, the grace in seconds, SIGKILL; give those that had to be killed.

        `meanwhile` is called now and then during the grace. OutlivesError when something outlives SIGKILL; it is not
        waited for then, here or at the exit.
        """
        try:
            return procfs.end_all(self._tree, grace=grace, meanwhile=meanwhile, kill_faster=self._kill_cgroup)
        except procfs.OutlivesError:
            self._outlives = True
            raise

    def reap(self) -> Exit:
        """Take its exit once it has ended; waits for it otherwise."""
        if self._exit is None:
            _pid, status, usage = os.wait4(self.pid, 0)
            code = os.waitstatus_to_exitcode(status)
            if self._process is not None:
                self._process.returncode = code
            warm_process.expected.discard(self.pid)
            self._exit = Exit(
                code=code if code >= 0 else None,
                signal=-code if code < 0 else None,
                cpu_seconds=usage.ru_utime + usage.ru_stime,
                max_rss_bytes=self._max_rss(usage.ru_maxrss << 10),
            )
        return self._exit

    def _max_rss(self, told: int) -> int | None:
        # What the kernel tells begins, across exec, with what the process that started it held.
        return max(told, self._peak) if told > self._own_peak else self._peak or None

    def kill_leftovers(self) -> list[procfs.Process]:
        """Kill what the ended process left running; give what was killed. OutlivesError when something outlives that.

        Without a cgroup, orphans are known by having been handed to this process, a subreaper. One of another session
        that has cleared its environment, left its folder and closed its log is then no entry's: see end_adopted.
        """
        left = self._owned_orphans() or (self._cgroup is not None and self._cgroup.is_populated())
        killed = self.end(0) if left else []
        reap_orphans(self._owned_zombies())
        try:
            self._remove_cgroup()
        except procfs.OutlivesError:
            self._outlives = True
            raise
        return killed

    @property
    def oom_kills(self) -> int:
        """How many of its processes the kernel killed for their memory, as far as a cgroup tells; known at the end."""
        return self._oom_kills

    def close(self) -> None:
        """Let go of the process."""
        os.close(self._pidfd)

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Leave nothing running, whatever happened, and let go."""
        try:
            if self._outlives:
                return
            if self._exit is None:
                self.end(0)
                self.reap()
                reap_orphans(self._owned_zombies())
            self._remove_cgroup()
        finally:
            self.close()

    def _open_pidfd(self) -> int:
        try:
            return os.pidfd_open(self.pid)
        except OSError:  # too many open files
            os.kill(self.pid, signal.SIGKILL)
            self.reap()
            self._remove_cgroup()
            raise

    def _contain(self) -> None:
        """Put it under its limits and in its cgroup, and whatever it forked until then.

        It cannot be born there: that takes a clone3 that Python does not have, or a shell in between. Moving it can
        take the kernel 10 ms and more, in which an interpreter reaches the module's first lines.
        """
        held: set[int] = set()
        while (
            outside := {self.pid, *procfs.descendants(self.pid), *(orphan.pid for orphan in self._owned_orphans())}
            - held
        ):
            for pid in outside:
                self._contain_one(pid)
            held |= outside

    def _contain_one(self, pid: int, *, born: bool = False) -> None:
        if self._limited is None:
            self._limited = self._cgroup is not None and self._cgroup.limit(
                memory=self._limits.memory, processes=PROCESSES
            )
        self._limits.apply(pid, data=not self._limited)
        if not born:
            self._join_cgroup(pid)

    def _join_cgroup(self, pid: int) -> None:
        if self._cgroup is None:
            return
        try:
            self._cgroup.add(pid)
        except OSError as error:
            # It is still known by its session and mark, as where there are no cgroups.
            _logger.warning("cgroup_not_joined cgroup=%s pid=%d error=%s", self._cgroup.path, pid, error)

    def _owned_orphans(self) -> list[procfs.Process]:
        orphans = [orphan for pid in _strays() if (orphan := procfs.process(pid)) is not None]
        unplaced = job_cgroup.unplaced() if orphans else set()
        return [orphan for orphan in orphans if self._adopts(orphan, unplaced)]

    def _adopts(self, orphan: procfs.Process, unplaced: set[int]) -> bool:
        """Tell whether an orphan is its own, or nobody's: it was born here and cut every tie before it was moved."""
        if self._owns(orphan) or procfs.uses(orphan.pid, self._places):
            return True
        return orphan.pid in unplaced and not procfs.has_variable(orphan.pid, self._mark.partition(b"=")[0])

    def _remove_cgroup(self) -> None:
        if self._cgroup is not None:
            self._oom_kills = self._cgroup.oom_kills()
            job_cgroup.remove(self._cgroup)
            self._cgroup = None

    def _kill_cgroup(self) -> None:
        if self._cgroup is not None:
            self._cgroup.kill()

    def _owns(self, process: procfs.Process) -> bool:
        return process.session == self.pid or procfs.has_mark(process.pid, self._mark)

    def _owned_zombies(self) -> list[int]:
        # A zombie has no environment left to read; any zombie among the adopted is an orphan that has ended.
        return [pid for pid in _strays() if procfs.process(pid) is None]

    def _tree(self) -> Iterator[procfs.Process]:
        """Search its processes; one that is known in several ways may be found again."""
        yield from self._owned_orphans()
        if self._cgroup is not None:
            yield from self._cgroup.members()
        yield from procfs.find(session=self.pid, mark=self._mark)


@contextlib.contextmanager
def _opened(log: Path) -> Iterator[int]:
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def _spawn(argv: Sequence[str], cwd: Path, env: Mapping[str, str], log_fd: int) -> "subprocess.Popen[bytes]":
    # No preexec_fn, user or group: each of them costs a fork of this whole process instead of a vfork.
    return subprocess.Popen(
        argv,
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=log_fd,
        stderr=log_fd,
        start_new_session=True,
        umask=0o077,
    )


def _strays() -> list[int]:
    """Give the processes that were handed to this one and are no warm interpreter's or entry's own."""
    return [pid for pid in procfs.orphans() if pid not in warm_process.expected]


def end_adopted() -> list[procfs.Process]:
    """Kill every process that was handed to this one, a subreaper whose main thread starts none; give what was killed.

    For the end of a job: without cgroups, nothing else reaches a process that has cut every tie to its entry.
    """
    killed = procfs.end_all(
        lambda: [orphan for pid in procfs.orphans() if (orphan := procfs.process(pid)) is not None], grace=0
    )
    reap_orphans(procfs.orphans())
    return killed


def reap_orphans(pids: Sequence[int]) -> None:
    """Take the exit of adopted processes that have ended, so that none stays a zombie."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def signal_name(number: int) -> str:
    """Name a signal, as `SIGKILL`; a number without a name as `signal 35`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
