"""A daemon that has nothing to do does next to nothing. What is counted are wake-ups, which no load adds to."""

import time
from pathlib import Path

_MOST_A_SECOND = 40.0
_LOOKS, _LOOK_SECONDS = 8, 4.0


def _wakes(root: int) -> int:
    """Count how often the threads of a process and of what it started have woken, but for Prefect's server."""
    if b"jobd.prefect_child" in Path(f"/proc/{root}/cmdline").read_bytes():
        return 0
    total = 0
    for task in Path(f"/proc/{root}/task").iterdir():
        lines = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines() if ":" in line)
        total += int(lines["voluntary_ctxt_switches"])
        total += sum(map(_wakes, map(int, (task / "children").read_text().split())))
    return total


def _rate(pid: int) -> float:
    """Tell how often they wake in a second; above every bound when a process ended while it was looked at."""
    try:
        begun, before = time.monotonic(), _wakes(pid)
        time.sleep(_LOOK_SECONDS)
        return (_wakes(pid) - before) / (time.monotonic() - begun)
    except (FileNotFoundError, ProcessLookupError):
        return float("inf")


def test_an_idle_daemon_hardly_wakes(daemon):
    """All its clocks, gRPC's, the nursery's and those of what stands ready wake it a few times a second together."""
    daemon.wait_for_prefect()
    least = float("inf")
    for _ in range(_LOOKS):  # what earlier tests have left it to do comes to an end
        least = min(least, _rate(daemon.process.pid))
        if least < _MOST_A_SECOND:
            break
    assert least < _MOST_A_SECOND
