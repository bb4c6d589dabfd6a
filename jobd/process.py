"""One module process: started in a session of its own with its output straight to a file, waited for, and ended."""

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from jobd import procfs


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
    max_rss_bytes: int
    """The most memory it held."""


class ModuleProcess:
    """A running module. Its end is the end of its process; what it leaves behind is killed."""

    def __init__(self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path, mark: bytes) -> None:
        """Start it; OSError when that fails. `mark` is the NAME=value in `env` by which its descendants are known."""
        self._mark = mark
        fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            # No preexec_fn, user or group: each of them costs a fork of this whole process instead of a vfork.
            self._process = subprocess.Popen(
                argv,
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=fd,
                stderr=fd,
                start_new_session=True,
            )
        finally:
            os.close(fd)
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        self._exit: Exit | None = None

    def wait(self, seconds: float, wake_fd: int) -> Awaited:
        """Wait for its end, for `wake_fd` to become readable, or for the time to be up, and tell which it was."""
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        poller.register(wake_fd, select.POLLIN)
        ready = {fd for fd, _event in poller.poll(seconds * 1000)}
        if self._pidfd in ready:
            return Awaited.END
        return Awaited.WAKE if wake_fd in ready else Awaited.TIME

    def end(self, grace: float) -> list[procfs.Process]:
        """Have the whole tree end: SIGTERM, the grace in seconds, SIGKILL; give those that had to be killed."""
        return procfs.end_all(self._tree, grace=grace)

    def reap(self) -> Exit:
        """Take its exit once it has ended; waits for it otherwise."""
        if self._exit is None:
            _pid, status, usage = os.wait4(self.pid, 0)
            code = os.waitstatus_to_exitcode(status)
            self._process.returncode = code
            self._exit = Exit(
                code=code if code >= 0 else None,
                signal=-code if code < 0 else None,
                cpu_seconds=usage.ru_utime + usage.ru_stime,
                max_rss_bytes=usage.ru_maxrss * 1024,
            )
        return self._exit

    def kill_leftovers(self) -> list[procfs.Process]:
        """Kill what the ended process left running; give what was killed.

        Without a cgroup, orphans are known by having been handed to this process, a subreaper.
        """
        strays = [stray for pid in procfs.orphans() if (stray := procfs.process(pid)) is not None and self._owns(stray)]
        killed = procfs.end_all(self._tree, grace=0) if strays else []
        reap_orphans(self._owned_zombies())
        return killed

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
        if self._exit is None:
            self.end(0)
            self.reap()
        self.close()

    def _owns(self, process: procfs.Process) -> bool:
        return process.session == self.pid or procfs.has_mark(process.pid, self._mark)

    def _owned_zombies(self) -> list[int]:
        # A zombie has no environment left to read; any zombie among the adopted is an orphan that has ended.
        return [pid for pid in procfs.orphans() if procfs.process(pid) is None]

    def _tree(self) -> list[procfs.Process]:
        return procfs.find(session=self.pid, mark=self._mark)


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
