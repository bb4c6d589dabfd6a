"""Which process is the embedded Prefect server, so that one left behind by a killed daemon can be ended.

A pid alone is reused within minutes on a busy machine: with the boot and the start time it names one process.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from jobd import procfs


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerName:
    """A process of this machine that no other will ever be taken for."""

    boot: str
    pid: int
    ticks: int
    """Its start, in clock ticks since the boot."""

    def lives(self) -> bool:
        """Tell whether exactly this process runs."""
        process = procfs.process(self.pid)
        return process is not None and process.start_ticks == self.ticks and procfs.boot_id() == self.boot


def write_pid_file(path: Path) -> None:
    """Name this process in the file, in one step."""
    process = procfs.process(os.getpid())
    assert process is not None, "a process that runs this is running"
    part = path.with_name(path.name + ".part")
    part.write_text(f"{procfs.boot_id()} {process.pid} {process.start_ticks}\n", encoding="ascii")
    part.rename(path)


def read_pid_file(path: Path) -> ServerName | None:
    """Read the process that the file names, running or not; None when the file is missing or says nothing."""
    try:
        boot, pid, ticks = path.read_text(encoding="ascii").split()
        return ServerName(boot=boot, pid=int(pid), ticks=int(ticks))
    except (FileNotFoundError, ValueError):
        return None


def end_leftover(path: Path, *, grace: float) -> int | None:
    """End the process that the file names, if it still runs, and all of its session; give its pid, or None.

    It gets SIGTERM, then after the grace in seconds SIGKILL. Blocks until it is gone; TimeoutError when even that
    does not end it.
    """
    name = read_pid_file(path)
    if name is None or not name.lives():
        return None
    session = name.pid
    procfs.end_all(lambda: [process for process in procfs.processes() if process.session == session], grace=grace)
    return name.pid
