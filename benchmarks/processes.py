"""What processes cost, read from /proc: processor time and memory of a process and everything below it."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_MEBIBYTE = 1 << 20


def tree(root: int, *, without: int | None = None) -> list[int]:
    """List a process and its living descendants, leaving out the branch that begins with `without`."""
    found: list[int] = []
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        if pid != without:
            found.append(pid)
            waiting += _children(pid)
    return found


def find_child(root: int, word: str) -> int | None:
    """Find the descendant of a process whose command line has this word."""
    for pid in tree(root)[1:]:
        if word in command(pid):
            return pid
    return None


def command(pid: int) -> str:
    """Give the command line of a process; empty when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def cpu_seconds(pids: list[int]) -> float:
    """Add up the processor time of processes and of their children that have ended and were waited for."""
    return sum(map(sum, map(own_and_children_seconds, pids)))


def own_and_children_seconds(pid: int) -> tuple[float, float]:
    """Give the processor time of a process, and of its children that it has waited for; zeros when it is gone."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        user, system, child_user, child_system = map(int, fields[11:15])
        return (user + system) / _TICKS, (child_user + child_system) / _TICKS
    return 0.0, 0.0


def wakes(pids: list[int]) -> int:
    """Count how often the threads of processes have gone to sleep by themselves, and so were woken."""
    return sum(count for pid in pids for count in _sleeps(pid))


def resident_mib(pid: int) -> float:
    """Give the resident memory of a process; 0 when it is gone."""
    with contextlib.suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / _MEBIBYTE
    return 0.0


def proportional_mib(pids: list[int]) -> float:
    """Add up the memory of processes, with each shared page counted once among those who share it."""
    return sum(_proportional_kib(pid) for pid in pids) / 1024


def kill_tree(root: int) -> None:
    """Kill a process and its descendants, if any lives."""
    for pid in tree(root):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                yield from map(int, (task / "children").read_text().split())


def _sleeps(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                for line in (task / "status").read_text().splitlines():
                    if line.startswith("voluntary_ctxt_switches:"):
                        yield int(line.split()[1])


def _proportional_kib(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
