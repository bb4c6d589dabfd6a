"""Cgroups v2: where they can be made, and what can be done with one. Nothing that is born in one gets out by forking.

Memory and the number of processes are limited in them if the kernel's controllers can be had; killing works without.
"""

import contextlib
import errno
import os
import re
import select
import signal
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import monotonic, sleep

from jobd import procfs

CONTROLLERS = ("memory", "pids")
_DELEGATE = ("user.delegate", "trusted.delegate")
"""Marks that systemd puts on a cgroup whose inside belongs to the service."""
_ASIDE = "daemon"
"""Where the daemon goes, below a cgroup that was delegated to it."""
_BUSY_SECONDS = 0.005


def mount_point(mounts: str) -> Path | None:
    """Find the cgroup2 mount in the text of /proc/mounts; None when there is none."""
    for line in mounts.splitlines():
        _device, place, kind, *_rest = line.split(" ")
        if kind == "cgroup2":
            return Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), place))
    return None


def own_path(cgroups: str) -> str | None:
    """Find the path below the mount in the text of /proc/self/cgroup; None for one that cannot be seen from here."""
    for line in cgroups.splitlines():
        if line.startswith("0::/") and ".." not in line.split("/"):
            return line.removeprefix("0::/")
    return None


@cache
def base() -> Path | None:
    """Give the cgroup below which others may be made: the nearest that was delegated, or this process's own.

    None where there is no cgroup v2 or it may not be written.
    """
    own = own_place()
    if own is None:
        return None
    root, place = own
    places = [path for path in (place, *place.parents) if path.is_relative_to(root)]
    chosen = next(filter(_is_delegated, places), place)
    usable = os.access(chosen, os.W_OK) and os.access(chosen / "cgroup.procs", os.W_OK)
    return chosen if usable else None


def own_place() -> tuple[Path, Path] | None:
    """Give the mount and, on it, this process's cgroup; None where there is no such thing."""
    root = mount_point((procfs.PROC / "self/mounts").read_text())
    path = own_path((procfs.PROC / "self/cgroup").read_text())
    return None if root is None or path is None else (root, root / path)


def _is_delegated(path: Path) -> bool:
    for name in _DELEGATE:
        with contextlib.suppress(OSError):
            if os.getxattr(path, name) == b"1":
                return True
    return False


def step_aside() -> None:
    """Move this process from a cgroup that was delegated to it to one below, before it has started any other.

    The kernel gives controllers only to cgroups whose parent holds no process itself.
    """
    home, own = base(), own_place()
    if home is None or own is None or own[1] != home or not _is_delegated(home):
        return
    (home / _ASIDE).mkdir(exist_ok=True)
    Cgroup(home / _ASIDE).add(os.getpid())


def _kept_back(path: Path) -> set[str]:
    """Name the controllers that must not be handed down from a cgroup.

    A systemd that does not know DelegateSubgroup= puts the next daemon into the service's own cgroup again, while jobs
    of this one live below it. The kernel refuses that once the memory controller was handed down.
    """
    return {"memory"} if path.suffix == ".service" and (path / _ASIDE).exists() else set()


@dataclass(frozen=True, slots=True)
class Cgroup:
    """One cgroup and those below it. What it does to processes that have ended is no error."""

    path: Path

    def available(self) -> set[str]:
        """Name the controllers for memory and processes that it has, and that can be handed down."""
        found = set((self.path / "cgroup.controllers").read_text().split())
        return found & set(CONTROLLERS) - _kept_back(self.path)

    def hand_down(self) -> None:
        """Let the cgroups below it have them; one that holds processes itself cannot, and they do without."""
        for name in self.available():
            with contextlib.suppress(OSError):
                procfs.write(self.path / "cgroup.subtree_control", f"+{name}")

    def add(self, pid: int) -> None:
        """Move a process in; what it forks from now on is born there."""
        with contextlib.suppress(ProcessLookupError):
            procfs.write(self.path / "cgroup.procs", str(pid))

    def members(self) -> list[procfs.Process]:
        """Give the processes in it."""
        pids = (pid for folder in self._folders() for pid in _pids(folder))
        return [found for pid in pids if (found := procfs.process(pid)) is not None]

    def limit(self, *, memory: int, processes: int) -> bool:
        """Limit the bytes of memory, where 0 is no limit, and the processes; tell whether memory could be limited."""
        if (self.path / "pids.max").exists():
            procfs.write(self.path / "pids.max", str(processes))
        if not memory or not (self.path / "memory.max").exists():
            return False
        procfs.write(self.path / "memory.max", str(memory))
        procfs.write(self.path / "memory.oom.group", "1")  # half a module is no use to anybody
        return True

    def oom_kills(self) -> int:
        """Count the processes that the kernel killed because memory ran out in it."""
        with contextlib.suppress(FileNotFoundError):
            return _counters(self.path / "memory.events").get("oom_kill", 0)
        return 0

    def kill(self) -> None:
        """Send SIGKILL to all in it, those that are being forked included."""
        try:
            procfs.write(self.path / "cgroup.kill", "1")
        except FileNotFoundError:  # a kernel before 5.14
            for target in self.members():
                procfs.send(target, signal.SIGKILL)

    def is_populated(self) -> bool:
        """Tell whether anything lives in it."""
        return _counters(self.path / "cgroup.events")["populated"] != 0

    def wait_empty(self, seconds: float) -> bool:
        """Wait until nothing lives in it; False when the time is up first."""
        deadline = monotonic() + seconds
        with (self.path / "cgroup.events").open("rb") as file:
            poller = select.poll()
            poller.register(file, select.POLLPRI)
            while b"populated 1" in os.pread(file.fileno(), 4096, 0):
                if (left := deadline - monotonic()) <= 0:
                    return False
                poller.poll(left * 1000)
        return True

    def remove(self, patience: float = 10.0) -> None:
        """Remove it with those below it; OutlivesError when something lives in it for so long."""
        deadline = monotonic() + patience
        while not self._try_remove():
            if not self.wait_empty(deadline - monotonic()):
                raise procfs.OutlivesError(f"processes {_pids(self.path)[:5]} in {self.path} outlive SIGKILL")
            sleep(_BUSY_SECONDS)  # it is counted as empty a moment before it can be removed

    def _try_remove(self) -> bool:
        with contextlib.suppress(OSError):  # it holds others, mostly
            self.path.rmdir()
            return True
        try:
            for folder in reversed(self._folders()):
                folder.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def _folders(self) -> list[Path]:
        return [Path(folder) for folder, _inner, _files in os.walk(self.path)]


def _pids(folder: Path) -> list[int]:
    try:
        return [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENODEV}:  # removed before or while it is read
            return []
        raise


def _counters(path: Path) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in path.read_text().splitlines())}
