"""What a module's processes may use of the machine: set from outside once they are there, and inherited by theirs."""

import contextlib
import resource
import shutil
from dataclasses import dataclass

from jobd import procfs

OPEN_FILES = 4096
"""Files that a process may hold open."""
PROCESSES = 4096
"""Processes and threads that an entry may have, where a cgroup can count them; a user's count is no entry's."""

_PROGRAM = "prlimit"

_OOM_SCORE = 500
"""When the machine runs out of memory, the kernel ends modules before the daemon and its runners."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one entry, in bytes; 0 is none."""

    memory: int = 0
    """What all its processes may hold together, in a cgroup; elsewhere, what each may have for its own data."""
    file_size: int = 0
    """What no file that it writes may pass."""
    inherited: bool = False
    """Whether its processes are born under them, as those of another user must be; then they are not put under them."""

    def prefix(self, *, data: bool) -> list[str]:
        """Give the words that, put before the words of a command, have it run under them; with `data` the memory too.

        To put another user's processes under limits later takes a right (CAP_SYS_RESOURCE) that root in a container
        has not.
        """
        words = [shutil.which(_PROGRAM) or _PROGRAM, "--core=0"]
        words += [f"--nofile={_most(OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE))}"]
        words += (
            [f"--fsize={_most(self.file_size, resource.getrlimit(resource.RLIMIT_FSIZE))}"] if self.file_size else []
        )
        if data and self.memory:
            words.append(f"--data={_most(self.memory, resource.getrlimit(resource.RLIMIT_DATA))}")
        return [*words, "--"]

    def apply(self, pid: int, *, data: bool) -> None:
        """Limit a process; with `data` its memory too, for want of a cgroup that does. One that has ended is no error.

        Its data, not its address space: that counts every library and mapped file, and a module that holds 50 MB
        of numpy and video frames has five times as much of it.
        """
        if not self.inherited:
            self._put_under(pid, data=data)
        # A help to the kernel, no promise: some containers do not let it be said.
        with contextlib.suppress(OSError):
            (procfs.PROC / str(pid) / "oom_score_adj").write_text(str(_OOM_SCORE))

    def _put_under(self, pid: int, *, data: bool) -> None:
        with contextlib.suppress(ProcessLookupError):
            _cap(pid, resource.RLIMIT_CORE, 0)
            _cap(pid, resource.RLIMIT_NOFILE, OPEN_FILES)
            if self.file_size:
                _cap(pid, resource.RLIMIT_FSIZE, self.file_size)
            if data and self.memory:
                _cap(pid, resource.RLIMIT_DATA, self.memory)


NO_LIMITS = Limits()


def can_prefix() -> bool:
    """Tell whether a command can be run under limits from its beginning."""
    return shutil.which(_PROGRAM) is not None


def _cap(pid: int, kind: int, most: int) -> None:
    value = _most(most, resource.prlimit(pid, kind))
    resource.prlimit(pid, kind, (value, value))


def _most(wanted: int, now: tuple[int, int]) -> int:
    """Give what is wanted, or less where the limit that there is, soft and hard, allows no more."""
    _soft, hard = now
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
