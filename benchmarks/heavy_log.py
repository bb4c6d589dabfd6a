"""P9: one entry that prints without end, beside the same script with its output in a file."""

import subprocess
import sys
import time

from jobapi.v1 import job_service_pb2 as pb

from benchmarks import processes
from benchmarks.bench import Bench
from benchmarks.daemon import BenchmarkError, Daemon, environment
from benchmarks.row import Row, Series, row
from benchmarks.run import JobRun, at, follow
from benchmarks.sampler import Sampler
from benchmarks.workload import job


def measure_heavy_log(bench: Bench) -> list[Row]:
    """Take turns between the entry and the bare script; a watcher follows, and memory is looked at all the time."""
    size = bench.pick(1000, 100) * 1_000_000
    document = job("loud", [{"module": "loud", "params": {"bytes": size}}])
    daemon = bench.daemon()
    ours, base, growths = [], [], []
    for number in range(bench.rounds):
        daemon.settle()
        base.append(_run_bare(bench, size))
        run, growth = _run_watched(daemon, document)
        _check_whole(run)
        ours.append(at(next(run.of("entry_succeeded"))) - run.first("entry_started"))
        growths.append(growth)
        daemon.jobs.Delete(pb.DeleteRequest(id=run.id))
        bench.say(f"round {number + 1}: bare {base[-1]:.2f} s, jobd {ours[-1]:.2f} s")
    timing = Row(
        key="P9",
        what=f"an entry that prints {size // 1_000_000} MB",
        unit="s",
        ours=Series(tuple(ours)),
        against="`python main.py > file`",
        baseline=Series(tuple(base)),
        goal=1.5,
        note="from its start to its success; its watcher had every event, once and in order, on one stream",
    )
    memory = row("P9", "memory that daemon and runner gain meanwhile", "MiB", growths, goal=50.0)
    return [timing, memory]


def _run_bare(bench: Bench, size: int) -> float:
    file = bench.folder / "loud.log"
    command = [sys.executable, str(bench.workload.script("loud")), f"--bytes={size}"]
    with file.open("wb") as out:
        begun = time.perf_counter()
        subprocess.run(command, stdout=out, env=environment(bench.folder), check=True)
        seconds = time.perf_counter() - begun
    file.unlink()
    return seconds


def _run_watched(daemon: Daemon, document: bytes) -> tuple[JobRun, float]:
    """Run the job; give it, and the MiB by which the peaks of daemon and runner exceed what they began with."""
    begun = time.time()
    job_id = daemon.submit(document)
    answered = time.time()
    with _Peak(daemon, job_id) as peak:
        run = follow(daemon.channel, job_id, begun, answered)
    return run, peak.growth


def _check_whole(run: JobRun) -> None:
    sequences = [event.sequence for event in run.events]
    if run.end != "job_succeeded" or sequences != list(range(1, len(sequences) + 1)):
        raise BenchmarkError(f"the watcher of {run.id} saw {sequences}, ending with {run.end}: {run.failure}")


class _Peak(Sampler):
    """Looks at the memory of the daemon and of a job's runner within the block."""

    pause_seconds = 0.05

    def __init__(self, daemon: Daemon, job_id: str) -> None:
        super().__init__()
        self._daemon, self._job_id = daemon, job_id
        self._first: dict[int, float] = {}
        self._most: dict[int, float] = {}

    @property
    def growth(self) -> float:
        """The sum of what each gained, in MiB."""
        return sum(most - self._first[pid] for pid, most in self._most.items())

    def look(self) -> None:
        """Note the memory of both, as far as they are there."""
        for pid in filter(None, (self._daemon.process.pid, self._daemon.runner(self._job_id))):
            now = processes.resident_mib(pid)
            self._first.setdefault(pid, now)
            self._most[pid] = max(self._most.get(pid, 0.0), now)
