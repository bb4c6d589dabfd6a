"""What holds for every test: an environment without settings of the developer's, and no process left behind."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_UNIT = Path(__file__).parent / "unit"
_SCRUBBED = ("JOBD_", "JOBCTL_", "PREFECT_", "XDG_", "GRPC_", "NO_COLOR", "TERM", "COLUMNS")
_PATIENCE = 45.0
"""Seconds that processes of a test may take to end: a runner whose Prefect goes while it sends it its last words tries
for 20 s to end its flow and for 20 s to be heard, which is the bound that is promised."""


@dataclass(frozen=True, slots=True)
class Stray:
    """A process that a test started, as it was when it was looked at."""

    pid: int
    start_ticks: int
    command: str


class Guard:
    """Knows every process that this session started, directly or not, by a folder whose name is in all that it gives.

    HOME lies below the folder, and reaches the daemon, Prefect's server, the nursery, runners and modules alike.
    """

    def __init__(self, folder: Path) -> None:
        self._mark = f"{folder}/".encode()
        own = _read_stat(f"/proc/{os.getpid()}")
        assert own is not None
        self._begin = own[1]

    def living(self) -> list[Stray]:
        """Find those that live; a zombie does not."""
        found = (self._look(int(name)) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 - quick
        return [stray for stray in found if stray is not None]

    def leftovers(self, before: Counter[str]) -> list[Stray]:
        """Wait until nothing lives but as many of each command as before; give what lives then all the same."""
        deadline = time.monotonic() + _PATIENCE
        while (left := self._beyond(before)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left

    def commands(self) -> Counter[str]:
        """Count the living by command line: a server that a wider fixture restarts stays the same one."""
        return Counter(stray.command for stray in self.living())

    def end(self, strays: list[Stray]) -> None:
        """Kill what should not have lived, so that it does not disturb the next test."""
        for stray in strays:
            now = self._look(stray.pid)
            if now is not None and now.start_ticks == stray.start_ticks:
                os.kill(stray.pid, signal.SIGKILL)

    def _beyond(self, before: Counter[str]) -> list[Stray]:
        allowed = before.copy()
        left = []
        for stray in sorted(self.living(), key=lambda stray: stray.start_ticks):
            if allowed[stray.command] > 0:
                allowed[stray.command] -= 1
            elif not _comes_and_goes(stray):
                left.append(stray)
        return left

    def _look(self, pid: int) -> Stray | None:
        folder = f"/proc/{pid}"
        stat = _read_stat(folder)
        if stat is None or stat[0] in (b"Z", b"X") or stat[1] < self._begin or pid == os.getpid():
            return None
        try:
            command = Path(folder, "cmdline").read_bytes()
            marked = self._mark in command or self._mark in Path(folder, "environ").read_bytes()
        except OSError:
            return None  # gone, or another user's
        return Stray(pid, stat[1], command.replace(b"\0", b" ").decode(errors="replace")) if marked else None


def _comes_and_goes(stray: Stray) -> bool:
    """Tell whether it is a living daemon's that it has now and then: a spare runner, or the recorder."""
    folder = Path(f"/proc/{stray.pid}")
    try:
        parent = folder.joinpath("stat").read_text().rpartition(")")[2].split()[1]
        above = Path(f"/proc/{parent}/cmdline").read_bytes()
        own = folder.joinpath("cmdline").read_bytes()
        spare = folder.joinpath("comm").read_text() == "jobd-spare\n" and above == own
    except OSError:
        return True  # gone
    return spare or (b"jobd.recorder" in own and b"\0serve\0" in above)


def _read_stat(folder: str) -> tuple[bytes, int] | None:
    """Give a process's state and the clock ticks from boot to its start; None when it is gone."""
    try:
        with open(f"{folder}/stat", "rb") as file:  # noqa: PTH123 - read for every process around every test
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[19])


@pytest.fixture(scope="session", autouse=True)
def process_guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    """Give every program a clean environment, and fail the session when one outlives it."""
    base = tmp_path_factory.getbasetemp().resolve()
    home = base / "home"
    home.mkdir()
    guard = Guard(base)
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith(_SCRUBBED)]:
            environment.delenv(name)
        environment.setenv("HOME", str(home))
        yield guard
        _check(guard, Counter())


@pytest.fixture(autouse=True)
def nothing_outlives_its_test(process_guard: Guard, request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test whose processes, or those of its fixtures, still live after it."""
    if _UNIT in request.path.parents:
        # A look around a test takes longer than a unit test; what these start, the session's guard finds.
        yield
        return
    before = process_guard.commands()
    yield
    _check(process_guard, before)


def _check(guard: Guard, before: Counter[str]) -> None:
    left = guard.leftovers(before)
    guard.end(left)
    assert not left, "still alive after the test: " + "; ".join(f"{stray.pid} {stray.command}" for stray in left)
