"""A machine that can lose its power, as far as a process can play that: all dies at once, and the next boot is another.

What a daemon and all that it starts reads as the boot's name is a file of ours, mounted over the kernel's own in a
namespace of the daemon's. Where this user may not do that, the name stays, and `new_boots` is False. What the kernel
had not yet written to the disk is not lost: that takes a machine of its own.
"""

import contextlib
import os
import signal
import subprocess
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

import processes

_KERNELS = "/proc/sys/kernel/random/boot_id"
_MOUNT = f'mount --bind "$0" {_KERNELS} && exec "$@"'


class Machine:
    """What one state directory's processes take for their machine, within the block."""

    def __init__(self, folder: Path, state: Path) -> None:
        """Prepare for a world's folder and its state directory."""
        self._folder = folder
        self._state = state
        self._boot = folder / "boot_id"
        self._boot.write_text(f"{uuid.uuid4()}\n")
        self._bystander: subprocess.Popen[bytes] | None = None
        self.new_boots = os.geteuid() == 0
        self.reboots: list[float] = []
        """When the power was cut, in seconds since the epoch."""

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End what was started here."""
        if self._bystander is not None:
            self._bystander.kill()
            self._bystander.wait()

    @property
    def prefix(self) -> list[str]:
        """What stands before a command that is to run on this machine."""
        words = ["unshare", "--mount", "--propagation=private", "sh", "-c", _MOUNT, str(self._boot)]
        return words if self.new_boots else []

    @property
    def bystander_harmed(self) -> bool:
        """Tell whether somebody killed a process only because its number was that of a process of an earlier boot."""
        return self._bystander is not None and self._bystander.poll() is not None

    def cut_power(self) -> None:
        """End every process of the state directory in no order; then forget what a boot forgets."""
        self.reboots.append(time.time())
        deadline = time.monotonic() + 30
        killed: set[int] = set()
        while living := self._living() | {pid for pid in killed if not processes.is_gone(pid)}:
            killed |= living
            if time.monotonic() > deadline:
                raise TimeoutError(f"{living} outlive SIGKILL")
            for pid in living:
                processes.send(pid, signal.SIGKILL)
            time.sleep(0.01)
        for path in processes.cgroups(self._job_ids()):
            _remove_cgroup(path)
        # The sockets below the state directory stay, as they do on a disk; nobody listens on them.
        self._boot.write_text(f"{uuid.uuid4()}\n")
        if self.new_boots:
            self._give_numbers_away()

    def _living(self) -> set[int]:
        return {*processes.of_state(self._folder), *processes.marked(self._job_ids())}

    def _job_ids(self) -> set[str]:
        with contextlib.suppress(FileNotFoundError):
            return {path.name for path in (self._state / "jobs").iterdir()}
        return set()

    def _give_numbers_away(self) -> None:
        """Have every pid that is on disk be that of somebody who has nothing to do with it."""
        if self._bystander is None:
            self._bystander = subprocess.Popen(["sleep", "86400"], cwd="/", env={})
        pid = self._bystander.pid
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        for lock in (self._state / "jobs").glob("*/runner.lock"):
            words = lock.read_text().split()
            if len(words) == 2:
                _overwrite(lock, f"{pid} {words[1]}\n")
        server = self._state / "prefect/server.pid"
        if server.exists() and server.read_text().split():
            _overwrite(server, f"{server.read_text().split()[0]} {pid} {ticks}\n")


def _overwrite(path: Path, text: str) -> None:
    """Write over what a file holds, which needs no room on a disk that is full."""
    with path.open("r+") as file:
        file.write(text)
        file.truncate()


def _remove_cgroup(path: Path) -> None:
    for inner, _folders, _files in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):
            Path(inner).rmdir()
