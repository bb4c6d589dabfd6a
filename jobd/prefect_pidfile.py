"""Which process is the embedded Prefect server, so that one left behind by a killed daemon can be ended.

A pid alone is reused within minutes on a busy machine: with the boot and the start time it names one process.
"""

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessName:
    """A process of this machine that no other will ever be taken for."""

    boot: str
    pid: int
    ticks: int
    """Its start, in clock ticks since the boot, as the kernel counts them."""

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Name a running process; None when there is none with this pid, or it has ended and is not yet reaped."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The name of the program stands in parentheses and may hold anything, a closing one included.
        fields = stat.rpartition(")")[2].split()
        if fields[0] in "ZX":
            return None
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return cls(boot=boot, pid=pid, ticks=int(fields[19]))


def write_pid_file(path: Path) -> None:
    """Name this process in the file, in one step."""
    name = ProcessName.of(os.getpid())
    assert name is not None, "a process that runs this is running"
    part = path.with_name(path.name + ".part")
    part.write_text(f"{name.boot} {name.pid} {name.ticks}\n", encoding="ascii")
    part.rename(path)


def read_pid_file(path: Path) -> ProcessName | None:
    """Read the process that the file names, running or not; None when the file is missing or says nothing."""
    try:
        boot, pid, ticks = path.read_text(encoding="ascii").split()
        return ProcessName(boot=boot, pid=int(pid), ticks=int(ticks))
    except (FileNotFoundError, ValueError):
        return None


async def end_leftover(path: Path, *, grace: float) -> int | None:
    """End the process that the file names, if it still runs, and everything in its session's group; give its pid.

    It gets SIGTERM, then after the grace in seconds SIGKILL. Returns when it is gone, or None when there was none.
    """
    name = read_pid_file(path)
    descriptor = _open(name) if name else None
    if name is None or descriptor is None:
        return None
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        if not await _ended(descriptor, within=grace):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(name.pid, signal.SIGKILL)
            await _ended(descriptor, within=None)
    finally:
        os.close(descriptor)
    return name.pid


def _open(name: ProcessName) -> int | None:
    """Open a handle on exactly this process; None when it has ended."""
    try:
        descriptor = os.pidfd_open(name.pid)
    except ProcessLookupError:
        return None
    # Only after the handle is open can the pid no longer change hands unseen.
    if ProcessName.of(name.pid) == name:
        return descriptor
    os.close(descriptor)
    return None


async def _ended(descriptor: int, *, within: float | None) -> bool:
    """Wait for the end of a process, at most so many seconds; tell whether it came."""
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(descriptor, gone.set)
    try:
        await asyncio.wait_for(gone.wait(), within)
    except TimeoutError:
        return False
    else:
        return True
    finally:
        loop.remove_reader(descriptor)
