"""P4: what the barrier between two steps costs."""

import statistics

from benchmarks.bench import Bench
from benchmarks.row import Row, row
from benchmarks.run import JobRun, at, kind
from benchmarks.workload import Entry, job

_STEPS, _ENTRIES = 20, 2


_WAY = ("entry_succeeded", "step_succeeded", "step_started", "entry_started")
"""What happens at a barrier, in this order."""


def measure_barrier(bench: Bench) -> list[Row]:
    """Run jobs of many short steps, and look at the times of their events."""
    daemon = bench.daemon()
    entries: list[Entry] = [{"module": "stamp"} for _ in range(_ENTRIES)]
    document = job("steps", *[entries for _ in range(_STEPS)])
    barriers: list[list[float]] = []
    gaps: list[float] = []
    lines: list[float] = []
    for number in range(bench.rounds):
        daemon.settle()
        run = daemon.run(document)
        found = _barriers(run)
        barriers += found
        gaps.append(statistics.median(barrier[-1] - barrier[0] for barrier in found) * 1000)
        lines.append(_line_to_line(daemon.printed(run.id)) * 1000)
        bench.say(f"round {number + 1}: {gaps[-1]:.1f} ms")
    parts = [statistics.median(each[place + 1] - each[place] for each in barriers) * 1000 for place in range(3)]
    note = (
        f"{parts[0]:.1f} ms to the step's end, {parts[1]:.1f} ms to the next one's begin, {parts[2]:.1f} ms to its "
        f"process; from the last line of the one to the first line of the other {statistics.median(lines):.1f} ms"
    )
    return [row("P4", "last entry of a step to first of the next", "ms", gaps, goal=10.0, note=note)]


def _barriers(run: JobRun) -> list[list[float]]:
    """Give the times of what happened at each barrier: the last of each kind before the next step's first process."""
    found: list[list[float]] = []
    last: dict[str, float] = {}
    for event in run.events:
        last[kind(event)] = at(event)
        if kind(event) == "entry_started" and "step_succeeded" in last:
            found.append([last[each] for each in _WAY])
            del last["step_succeeded"]
    return found


def _line_to_line(printed: bytes) -> float:
    """Give the median seconds from the last line of a step's modules to the first line of the next step's."""
    words = printed.split()
    firsts, lasts = [float(word) for word in words[0::3]], [float(word) for word in words[2::3]]
    steps = range(0, len(firsts), _ENTRIES)
    ends = [max(lasts[step : step + _ENTRIES]) for step in steps]
    begins = [min(firsts[step : step + _ENTRIES]) for step in steps]
    return statistics.median(begin - end for end, begin in zip(ends, begins[1:], strict=False))
