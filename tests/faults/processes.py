"""What lives, and whose it is: read from /proc, by other means than the product's own."""

import contextlib
import fcntl
import os
import signal
from pathlib import Path


def _living(pid: str) -> bool:
    try:
        return Path("/proc", pid, "stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def is_gone(pid: int) -> bool:
    """Tell whether no thread of a process lives: one on its way out shows no command, and has files open yet."""
    try:
        return not any(_living(f"{pid}/task/{name}") for name in os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208 - quick
    except OSError:
        return True


def marked(job_ids: set[str]) -> dict[int, str]:
    """Find every process that inherited the environment of a module of these jobs."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - quick
        with contextlib.suppress(OSError):
            block = Path("/proc", name, "environ").read_bytes()
            for item in block.split(b"\0"):
                if item.startswith(b"JOBD_JOB_ID=") and item[12:].decode() in job_ids and _living(name):
                    found[int(name)] = item[12:].decode()
    return found


def command(pid: int) -> str:
    """Give a process's command line; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def runner_of(job_folder: Path) -> int | None:
    """Find the runner of a job by what its lock says, if that is a runner still."""
    try:
        pid = int((job_folder / "runner.lock").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    words = command(pid)
    return pid if "jobd.nursery" in words and str(job_folder.parents[1]) in words else None


def lock_is_held(path: Path) -> bool:
    """Tell whether anybody holds a lock; the question takes it for a moment, so no runner may be about to start."""
    if not path.exists():
        return False
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def of_state(folder: Path) -> dict[int, str]:
    """Find every process but modules that was started for a state directory: daemon, nursery, runners, Prefect."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - quick
        words = command(int(name))
        if str(folder) in words and ("-m jobd" in words) and _living(name):
            found[int(name)] = words
    return found


def nurseries(folder: Path) -> list[int]:
    """Find the nurseries of a state directory: runners have the same command line, but are no child of a daemon."""
    found = []
    for pid, words in of_state(folder).items():
        with contextlib.suppress(OSError, ValueError):
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            if "jobd.nursery" in words and "jobd serve" in command(parent):
                found.append(pid)
    return found


def recorders(folder: Path) -> list[int]:
    """Find the processes that compare Prefect's record for a state directory."""
    return [pid for pid, words in of_state(folder).items() if "jobd.recorder" in words]


def send(pid: int | None, number: signal.Signals) -> bool:
    """Signal a process that may be gone; tell whether it was there."""
    if pid is None:
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def cgroups(job_ids: set[str]) -> list[Path]:
    """Find cgroups of these jobs, on whatever mount they are."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    roots = [Path(words[1]) for words in mounts if words[2] == "cgroup2"]
    return [Path(folder, name) for root in roots for folder, names, _ in os.walk(root) for name in job_ids & {*names}]
