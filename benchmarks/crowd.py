"""P10: many jobs at once: whether each gets its share, and whether Submit still answers."""

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.daemon import BenchmarkError, Daemon
from benchmarks.row import Row, row
from benchmarks.run import JobRun, follow
from benchmarks.submitting import OVER, READY, submit_many
from benchmarks.workload import copies, gated, job

_PAUSE_SECONDS, _OTHERS = 0.1, 200
"""How many other jobs are submitted meanwhile: enough for a 99th percentile, and no burden of their own."""


def measure_crowd(bench: Bench) -> list[Row]:
    """Submit all jobs at once, and go on submitting others that only wait."""
    jobs, entries = bench.pick(50, 10), bench.pick(20, 10)
    crowds = []
    for number in range(bench.pick(min(3, bench.rounds), 1)):
        crowds.append(_measure_once(bench, jobs, entries, bench.folder / f"crowd-gate-{number}"))
        bench.say(f"round {number + 1}: {crowds[-1].farthest:.0f} % from its fair end, Submit {crowds[-1].p99:.0f} ms")
    return _rows(crowds, f"{jobs} jobs of {entries} entries at once")


def _measure_once(bench: Bench, jobs: int, entries: int, gate: Path) -> "_Crowd":
    with bench.serving("--capacity=cpus=2.001,gate=1") as daemon:  # what the holder takes beside the usual two
        daemon.run(job("warming", copies(4), copies=True), daemon.copy_input())
        daemon.submit(job("holder", [{**gated(gate), "resources": {"cpus": 0.001, "counters": {"gate": 1}}}]))
        with _submitting(daemon, gate) as others:
            runs = _run_all(daemon, job("crowd", copies(entries), copies=True), jobs)
        daemon.stop()  # while it is away, the holder ends and nobody follows it
        gate.touch()
    return _Crowd(runs, [*others, *((run.answered - run.begun) * 1000 for run in runs)])


def _run_all(daemon: Daemon, document: bytes, count: int) -> list[JobRun]:
    """Submit the jobs one after another, follow all of them, and give what became of each."""
    with ThreadPoolExecutor(count) as pool:
        try:
            following = [pool.submit(follow, daemon.channel, *_submit(daemon, document)) for _ in range(count)]
            runs = [future.result() for future in following]
        except BaseException:
            daemon.channel.close()  # those who follow have no other reason to end
            raise
    if failed := [run for run in runs if run.end != "job_succeeded"]:
        raise BenchmarkError(f"{len(failed)} jobs of the crowd failed, {failed[0].id} with {failed[0].failure}")
    return runs


def _submit(daemon: Daemon, document: bytes) -> tuple[str, float, float]:
    """Submit a job; give its id, and when Submit was called and answered."""
    begun = time.time()
    job_id = daemon.submit(document, daemon.copy_input())
    return job_id, begun, time.time()


@dataclass(frozen=True, slots=True)
class _Crowd:
    """What one round has shown."""

    runs: list[JobRun]
    submits: list[float]
    """The milliseconds of each submit."""

    @property
    def fair(self) -> float:
        """The seconds after which each has a fair end.

        All ask for the same, so each has a share of one in so many, and with that would end when all the work does.
        """
        return max(self._seconds("job_succeeded"))

    @property
    def off(self) -> list[float]:
        """How far each is from its fair end, in percent."""
        return [abs(seconds / self.fair - 1) * 100 for seconds in self._seconds("job_succeeded")]

    @property
    def farthest(self) -> float:
        """How far that one is that is farthest from its fair end, in percent."""
        return max(self.off)

    @property
    def longest(self) -> float:
        """The seconds after which the last of them had its first entry."""
        return max(self._seconds("entry_started"))

    @property
    def p99(self) -> float:
        """The 99th percentile of the submits, in milliseconds."""
        return statistics.quantiles(self.submits, n=100, method="inclusive")[98]

    def _seconds(self, kind: str) -> list[float]:
        begun = min(run.begun for run in self.runs)
        return [run.first(kind) - begun for run in self.runs]


def _rows(crowds: list[_Crowd], what: str) -> list[Row]:
    off = [each for crowd in crowds for each in crowd.off]
    submits = [each for crowd in crowds for each in crowd.submits]
    within, longest = sum(each <= 25 for each in off), max(crowds, key=lambda crowd: crowd.longest)
    started = f"the last of them to start waited {longest.longest:.1f} s of {longest.fair:.1f} s"
    note = f"{within} of {len(off)} within 25 %; {started}"
    answers = f"of {len(submits)} submits; median {statistics.median(submits):.1f} ms, worst {max(submits):.1f} ms"
    farthest, p99 = [crowd.farthest for crowd in crowds], [crowd.p99 for crowd in crowds]
    return [
        row("P10", f"{what}: farthest from its fair end", "%", farthest, goal=25.0, note=note),
        row("P10", "Submit meanwhile, 99th percentile", "ms", p99, goal=50.0, note=answers),
    ]


@contextmanager
def _submitting(daemon: Daemon, gate: Path) -> Iterator[list[float]]:
    """Have a process submit jobs that wait for the gate, within the block; the list then has what each took, in ms."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    document, taken = job("waiting", [gated(gate)]), list[float]()
    process = context.Process(target=submit_many, args=(daemon.address, document, _OTHERS, _PAUSE_SECONDS, theirs))
    process.start()
    theirs.close()
    try:
        _told(ours)
        yield taken
        ours.send(OVER)
        taken += _told(ours)
    finally:
        process.kill()
        process.join()


def _told(pipe: "Connection[object, object]") -> list[float]:
    try:
        answer = pipe.recv()
    except EOFError:
        answer = "its process died"
    if isinstance(answer, list):
        return answer
    if answer != READY:
        raise BenchmarkError(f"a submit among the crowd failed: {answer}")
    return []
