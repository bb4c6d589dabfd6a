"""How much of the machine the processes of an installation take, sampled over time."""

import contextlib
import threading
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import processes
from world import World

SECONDS = 3.0
"""How often it is looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What the processes of one kind take together at one moment."""

    processes: int = 0
    mib: float = 0.0
    """Resident memory; what runners share with the nursery is counted for each."""
    descriptors: int = 0
    threads: int = 0

    def highest(self, other: "Level") -> "Level":
        """Give the larger of each."""
        return Level(
            processes=max(self.processes, other.processes),
            mib=max(self.mib, other.mib),
            descriptors=max(self.descriptors, other.descriptors),
            threads=max(self.threads, other.threads),
        )

    def plus(self, other: "Level") -> "Level":
        """Give the sum of each."""
        return Level(
            processes=self.processes + other.processes,
            mib=self.mib + other.mib,
            descriptors=self.descriptors + other.descriptors,
            threads=self.threads + other.threads,
        )


Levels = dict[str, Level]
KINDS = ("daemon", "nursery", "spare", "recorder", "Prefect", "runners")


def look(world: World) -> Levels:
    """Look at every process of an installation but its modules, by kind."""
    found: Levels = defaultdict(Level)
    nurseries = set(processes.nurseries(world.state))
    for pid, words in processes.of_state(world.state).items():
        with contextlib.suppress(OSError):  # it has ended
            found[_kind(pid, words, nurseries)] = found[_kind(pid, words, nurseries)].plus(_size(pid))
    return dict(found)


def _kind(pid: int, words: str, nurseries: set[int]) -> str:
    if "jobd serve" in words:
        return "daemon"
    if "jobd.prefect_child" in words:
        return "Prefect"
    if "jobd.recorder" in words:
        return "recorder"
    if pid in nurseries:
        return "nursery"
    return "spare" if Path(f"/proc/{pid}/comm").read_text().strip() == "jobd-spare" else "runners"


def _size(pid: int) -> Level:
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return Level(
        processes=1,
        mib=int(lines.get("VmRSS", "0 kB").split()[0]) / 1024,
        descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        threads=int(lines["Threads"]),
    )


class Sampler:
    """Looks every few seconds, from `start` to `stop`, and keeps the peak of each kind."""

    def __init__(self, world: World) -> None:
        """Prepare."""
        self._world = world
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self.peak: Levels = {}

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._end.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._end.wait(SECONDS):
            for kind, level in look(self._world).items():
                self.peak[kind] = self.peak.get(kind, Level()).highest(level)
