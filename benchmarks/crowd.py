"""P10: many jobs at once: whether each gets its share, and whether Submit still answers."""

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import grpc

from benchmarks.bench import Bench
from benchmarks.daemon import BenchmarkError, Daemon
from benchmarks.row import Row, row
from benchmarks.run import JobRun, follow
from benchmarks.workload import copies, gated, job

_PAUSE_SECONDS, _OTHERS = 0.1, 200
"""How many other jobs are submitted meanwhile: enough for a 99th percentile, and no burden of their own."""


def measure_crowd(bench: Bench) -> list[Row]:
    """Submit all jobs at once, and go on submitting others that only wait."""
    jobs, entries = bench.pick(50, 10), bench.pick(20, 10)
    gate = bench.folder / "crowd-gate"
    with bench.serving("--capacity=cpus=2.001,gate=1") as daemon:  # what the holder takes beside the usual two
        daemon.run(job("warming", copies(4), copies=True), daemon.copy_input())
        daemon.submit(job("holder", [{**gated(gate), "resources": {"cpus": 0.001, "counters": {"gate": 1}}}]))
        with _Submitter(daemon, gate) as submitter:
            runs = _run_all(daemon, job("crowd", copies(entries), copies=True), jobs)
        daemon.stop()  # while it is away, the holder ends and nobody follows it
        gate.touch()
    submits = [*submitter.taken, *((run.answered - run.begun) * 1000 for run in runs)]
    return _rows(runs, submits, f"{jobs} jobs of {entries} entries at once")


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


def _rows(runs: list[JobRun], submits: list[float], what: str) -> list[Row]:
    begun = min(run.begun for run in runs)
    finishes = [run.first("job_succeeded") - begun for run in runs]
    # All ask for the same, so each has a share of one in so many, and with that would end when all the work does.
    fair = max(finishes)
    off = [abs(finish / fair - 1) * 100 for finish in finishes]
    within = sum(each <= 25 for each in off)
    starts = [run.first("entry_started") - begun for run in runs]
    note = f"{within} of {len(runs)} within 25 %; the last of them to start waited {max(starts):.1f} s of {fair:.1f} s"
    p99 = statistics.quantiles(submits, n=100, method="inclusive")[98]
    answers = f"of {len(submits)} submits; median {statistics.median(submits):.1f} ms, worst {max(submits):.1f} ms"
    return [
        row("P10", f"{what}: farthest from its fair end", "%", [max(off)], goal=25.0, note=note),
        row("P10", "Submit meanwhile, 99th percentile", "ms", [p99], goal=50.0, note=answers),
    ]


class _Submitter:
    """Submits jobs that wait for the gate, one after another with a pause, within the block."""

    def __init__(self, daemon: Daemon, gate: Path) -> None:
        self.taken: list[float] = []
        """The milliseconds of each submit."""
        self._daemon, self._document = daemon, job("waiting", [gated(gate)])
        self._over = threading.Event()
        self._failure: grpc.RpcError | None = None
        self._thread = threading.Thread(target=self._submit)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, error: object, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._failure is not None and error is None:
            raise BenchmarkError(f"a submit among the crowd failed: {self._failure}")

    def _submit(self) -> None:
        try:
            while len(self.taken) < _OTHERS and not self._over.wait(_PAUSE_SECONDS):
                begun = time.perf_counter()
                self._daemon.submit(self._document)
                self.taken.append((time.perf_counter() - begun) * 1000)
        except grpc.RpcError as error:
            self._failure = error
