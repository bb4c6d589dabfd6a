"""Where a millisecond goes: from Submit to the first line and the end, and for each of many entries.

Everything is read from outside: from the times of events, from the modules' own clocks, and from the files that the
daemon and the runner write on their way.
"""

import statistics
from collections.abc import Iterator

from jobapi.v1 import job_service_pb2 as pb

from benchmarks import processes
from benchmarks.bench import Bench
from benchmarks.daemon import Daemon
from benchmarks.row import Row, row
from benchmarks.run import JobRun, at, follow
from benchmarks.sampler import Sampler
from benchmarks.workload import Entry, copies, job

_WAY = (
    "Submit is called",
    "Submit has answered: the job is on disk",
    "its assignment is written",
    "its runner has its lock",
    "its flow has begun",
    "the module's first line runs",
    "the module's last line has run",
    "the entry has succeeded",
    "the job has succeeded",
    "a watcher knows",
)


def measure_anatomy(bench: Bench) -> list[Row]:
    """Take one job apart, then the entries of a large one."""
    return [*_measure_way(bench), *_measure_entries(bench), *_measure_processors(bench)]


def _measure_way(bench: Bench) -> list[Row]:
    daemon = bench.daemon()
    document = job("way", [{"module": "stamp"}])
    daemon.run(document)
    ways = [_way(daemon, _run_settled(daemon, document)) for _ in range(bench.rounds * bench.pick(4, 2))]
    rows = []
    for place, after in enumerate(_WAY[1:]):
        taken = [(way[place + 1] - way[place]) * 1000 for way in ways]
        rows.append(row("anatomy", f"job: {after}", "ms", taken))
    return rows


def _run_settled(daemon: Daemon, document: bytes) -> JobRun:
    daemon.settle()
    return daemon.run(document)


def _way(daemon: Daemon, run: JobRun) -> list[float]:
    """Give the time of each place of the way."""
    folder = daemon.state / "jobs" / run.id
    written = [(folder / name).stat().st_mtime for name in ("assignment.json", "runner.lock")]
    first, _, last = map(float, daemon.printed(run.id).replace(b"last", b"0").split())
    begun, *ends = map(run.first, ("job_started", "entry_succeeded", "job_succeeded"))
    return [run.begun, run.answered, *written, begun, first, last, *ends, run.ended]


def _measure_entries(bench: Bench) -> list[Row]:
    daemon, count = bench.daemon(), bench.pick(200, 40)
    entries: list[Entry] = [{"module": "stamp", "name": str(number)} for number in range(count)]
    parts: dict[str, list[float]] = {}
    for _ in range(bench.rounds):
        for name, taken in _parts(daemon, daemon.run(job("entries", entries))):
            parts.setdefault(name, []).append(statistics.median(taken) * 1000)
    return [row("anatomy", f"entry of many: {name}", "ms", taken) for name, taken in parts.items()]


def _parts(daemon: Daemon, run: JobRun) -> Iterator[tuple[str, list[float]]]:
    """Give what each part of an entry's life took, for all entries."""
    started = {event.entry_started.entry: at(event) for event in run.of("entry_started")}
    ended = {event.entry_succeeded.entry: at(event) for event in run.of("entry_succeeded")}
    lines = _lines(daemon, run.id)
    yield "process started to first line", [lines[name][0] - begun for name, begun in started.items()]
    yield "first line to last line", [last - first for first, last in lines.values()]
    yield "last line to success", [end - lines[name][1] for name, end in ended.items()]
    ends, starts = sorted(ended.values()), sorted(started.values())
    width = len(starts) - sum(start > ends[0] for start in starts)
    yield (
        "success to the next start in its place",
        [start - end for end, start in zip(ends, starts[width:], strict=False)],
    )


def _lines(daemon: Daemon, job_id: str) -> dict[str, tuple[float, float]]:
    """Give the times of the first and the last line of each entry."""
    texts: dict[str, bytes] = {}
    for piece in daemon.jobs.Logs(pb.LogsRequest(id=job_id)):
        texts[piece.entry] = texts.get(piece.entry, b"") + piece.data
    words = {name: text.split() for name, text in texts.items()}
    return {name: (float(first), float(last)) for name, (first, _, last) in words.items()}


def _measure_processors(bench: Bench) -> list[Row]:
    daemon, count = bench.daemon(), bench.pick(200, 40)
    spent: dict[str, list[float]] = {}
    for _ in range(bench.rounds):
        for name, seconds in _spend(daemon, count).items():
            spent.setdefault(name, []).append(seconds * 1000 / count)
    return [row("anatomy", f"processor time per entry: {name}", "ms", taken) for name, taken in spent.items()]


def _spend(daemon: Daemon, count: int) -> dict[str, float]:
    """Run a job of copies; give the processor seconds of everybody who took part."""
    roles = {"the daemon": daemon.process.pid, "the Prefect server": daemon.prefect_pid or 0}
    before = {name: processes.cpu_seconds([pid]) for name, pid in roles.items()}
    job_id = daemon.submit(job("processors", copies(count), copies=True), daemon.copy_input())
    with _Runner(daemon, job_id) as runner:
        follow(daemon.channel, job_id, 0.0, 0.0)
    spent = {name: processes.cpu_seconds([pid]) - before[name] for name, pid in roles.items()}
    return spent | {"the runner": runner.own, "what the runner has waited for: modules": runner.children}


class _Runner(Sampler):
    """Looks at the processor time of a job's runner within the block; it is gone soon after."""

    pause_seconds = 0.01

    def __init__(self, daemon: Daemon, job_id: str) -> None:
        super().__init__()
        self.own = self.children = 0.0
        self._daemon, self._job_id = daemon, job_id
        self._first: tuple[float, float] | None = None

    def look(self) -> None:
        """Note what it has spent since the first look, if it is there."""
        own, children = processes.own_and_children_seconds(self._daemon.runner(self._job_id))
        if own:
            self._first = self._first or (own, children)
            self.own, self.children = own - self._first[0], children - self._first[1]
