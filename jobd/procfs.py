"""What /proc tells of processes: who lives, whose they are, and whether a number still means the same one."""

import contextlib
import ctypes
import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from select import POLLIN, poll
from time import monotonic

PROC = Path("/proc")
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_LOOK_SECONDS = 0.1


class OutlivesError(TimeoutError):
    """Something lives on although it was killed, as a process in uninterruptible sleep does."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process that is not a zombie, as it was when it was looked at."""

    pid: int
    parent: int
    session: int
    start_ticks: int
    """Clock ticks from boot to its start; with the pid, its identity until the next boot."""


@cache
def boot_id() -> str:
    """Name this boot of the machine; a process of another boot is dead."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def process(pid: int) -> Process | None:
    """Look at one process; None when it is gone or a zombie."""
    try:
        # The name stands in parentheses and may hold anything, spaces and parentheses included.
        fields = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return Process(pid, int(fields[1]), int(fields[3]), int(fields[19]))


def current() -> Process:
    """Look at this process itself."""
    found = process(os.getpid())
    if found is None:
        raise ProcessLookupError("/proc does not show this process; is it mounted?")
    return found


def processes() -> Iterator[Process]:
    """Look at every process."""
    for name in os.listdir(PROC):  # noqa: PTH208 - a Path for each of thousands of names is waste
        if name.isdigit() and (found := process(int(name))) is not None:
            yield found


def has_mark(pid: int, mark: bytes) -> bool:
    """Tell whether a process was started with the environment variable `mark`, given as NAME=value."""
    try:
        return b"\0" + mark + b"\0" in b"\0" + (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False


def has_variable(pid: int, name: bytes) -> bool:
    """Tell whether a process was started with an environment variable of this name."""
    try:
        return b"\0" + name + b"=" in b"\0" + (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False


def uses(pid: int, places: tuple[str, ...]) -> bool:
    """Tell whether a process works in one of these folders, or has one of these files open."""
    folder = PROC / str(pid)
    try:
        links = [folder / "cwd", *(folder / "fd" / name for name in os.listdir(folder / "fd"))]  # noqa: PTH208 - as above
    except OSError:
        return False
    for link in links:
        with contextlib.suppress(OSError):  # closed since
            if str(link.readlink()).removesuffix(" (deleted)") in places:
                return True
    return False


def find(*, session: int | None, mark: bytes) -> Iterator[Process]:
    """Find every process of a session, or that carries a mark in its environment; never this one."""
    own = os.getpid()
    for found in processes():
        if found.pid != own and (found.session == session or has_mark(found.pid, mark)):
            yield found


def peak_memory(pid: int) -> int:
    """Give the most bytes of memory that a process has held since it was started; 0 when it has ended."""
    try:
        text = (PROC / str(pid) / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) << 10 if found else 0


def orphans() -> list[int]:
    """Give the children of the main thread, to which a subreaper's adopted processes belong, zombies included."""
    text = (PROC / f"self/task/{os.getpid()}/children").read_text()
    return [int(pid) for pid in text.split()]


def descendants(pid: int) -> list[int]:
    """Give the children of a process that has not gone, theirs, and so on, each of which may have ended by now."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for thread in os.listdir(PROC / str(parent) / "task"):  # noqa: PTH208 - a Path for each is waste
                found += map(int, (PROC / str(parent) / "task" / thread / "children").read_text().split())
    return found[1:]


def become_subreaper() -> None:
    """Have orphaned descendants handed to this process instead of init, so that none gets away."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def forbid_new_privileges() -> None:
    """Have no program that this thread or its descendants start gain rights by its set-uid bit or file capabilities."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def call_itself(name: str) -> None:
    """Have this process shown under a name of at most 15 letters, as `ps -o comm` does."""
    (PROC / "self/comm").write_text(name)


def die_with_parent(number: signal.Signals) -> None:
    """Be sent a signal when the thread that started this process ends."""
    _prctl(_PR_SET_PDEATHSIG, number)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def send(target: Process, number: signal.Signals) -> None:
    """Signal a process unless it is gone or its number means another one by now."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        fd = os.pidfd_open(target.pid)
        try:
            now = process(target.pid)
            if now is not None and now.start_ticks == target.start_ticks:
                signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)


def wait_gone(targets: Iterable[Process], seconds: float) -> bool:
    """Wait until all have ended (a zombie has); False when the time is up first."""
    deadline = monotonic() + seconds
    return all(_wait_one(target, deadline) for target in targets)


def _wait_one(target: Process, deadline: float) -> bool:
    try:
        fd = os.pidfd_open(target.pid)
    except ProcessLookupError:
        return True
    try:
        now = process(target.pid)
        if now is None or now.start_ticks != target.start_ticks:
            return True
        poller = poll()
        poller.register(fd, POLLIN)
        return bool(poller.poll(max(0.0, deadline - monotonic()) * 1000))
    finally:
        os.close(fd)


def end_all(
    search: Callable[[], Iterable[Process]],
    *,
    grace: float,
    patience: float = 10.0,
    meanwhile: Callable[[], None] = lambda: None,
    kill_faster: Callable[[], None] = lambda: None,
) -> list[Process]:
    """End every process that `search` finds: SIGTERM, the grace in seconds, SIGKILL until none is found.

    `meanwhile` is called now and then during the grace, `kill_faster` after each round of SIGKILL that found any: it
    may reach those that were born meanwhile. Gives those that had to be killed. OutlivesError when something outlives
    SIGKILL for `patience` seconds, as a process in uninterruptible sleep does.
    """
    if grace > 0:
        # Once each, however often it is found: a second SIGTERM may end what the first one let clean up.
        found = list({target.pid: target for target in search()}.values())
        for target in found:
            send(target, signal.SIGTERM)
            send(target, signal.SIGCONT)
        over = monotonic() + grace
        while not wait_gone(found, min(_LOOK_SECONDS, over - monotonic())) and monotonic() < over:
            meanwhile()
    killed: dict[int, Process] = {}
    deadline = monotonic() + patience
    while rest := _kill_all(search, kill_faster):
        killed |= {target.pid: target for target in rest}
        wait_gone(rest, deadline - monotonic())
        if monotonic() > deadline:
            raise OutlivesError(f"process {rest[0].pid} outlives SIGKILL, or begets others faster than they are killed")
    return list(killed.values())


def _kill_all(search: Callable[[], Iterable[Process]], kill_faster: Callable[[], None]) -> list[Process]:
    found = []
    # Each is killed as it is found: one that forks and ends all the time would be another by the end of the search.
    for target in search():
        send(target, signal.SIGKILL)
        found.append(target)
    if found:
        kill_faster()
    return found


def write(path: Path, text: str) -> None:
    """Tell the kernel something by one of the files that it makes; OSError when there is no such file or it refuses."""
    # Whole words in one write, and never a new file.
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
