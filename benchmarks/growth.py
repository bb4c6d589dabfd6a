"""P6: whether a job's entry costs more when there are many, and a submit more when there are many jobs."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jobapi.v1 import job_service_pb2 as pb

from benchmarks.bench import Bench
from benchmarks.daemon import Daemon
from benchmarks.row import Row, Series
from benchmarks.workload import copies, gated, job

_SUBMITS = 20
"""How many submits make one figure."""


def measure_growth(bench: Bench) -> list[Row]:
    """Compare small with large jobs, and the first submits with those behind a long queue."""
    return [_measure_entries(bench), _measure_submits(bench)]


def _measure_entries(bench: Bench) -> Row:
    few, many = bench.pick(100, 40), bench.pick(5000, 300)
    daemon = bench.daemon()
    small, large = [], []
    for number in range(bench.pick(min(3, bench.rounds), 1)):
        # As many small jobs as it takes to look at as long a time.
        small.append(statistics.median(_entry_cost(daemon, few) for _ in range(bench.pick(7, 3))))
        large.append(_entry_cost(daemon, many))
        bench.say(f"round {number + 1}: {small[-1]:.1f} ms of {few}, {large[-1]:.1f} ms of {many}")
    return Row(
        key="P6",
        what=f"an entry of {many:,}",
        unit="ms",
        ours=Series(tuple(large)),
        against=f"an entry of {few:,}",
        baseline=Series(tuple(small)),
        goal=1.2,
    )


def _entry_cost(daemon: Daemon, count: int) -> float:
    daemon.settle()
    run = daemon.run(job("growth", copies(count), copies=True), daemon.copy_input())
    return run.span("step_started", "step_succeeded") * 1000 / count


def _measure_submits(bench: Bench) -> Row:
    count = bench.pick(10_000, 500)
    gate = bench.folder / "growth-gate"
    with bench.serving() as daemon:
        daemon.submit(job("holder", [gated(gate)]))  # it holds what all others wait for
        first = [_submit_cost(daemon, gate) for _ in range(bench.rounds)]
        begun = time.monotonic()
        _fill(daemon, job("filling", [gated(gate)]), count - 2 * _SUBMITS * bench.rounds)
        bench.say(f"{count:,} jobs are queued, after {time.monotonic() - begun:.0f} s")
        time.sleep(bench.pick(5, 2))
        last = [_submit_cost(daemon, gate) for _ in range(bench.rounds)]
        daemon.stop()  # while it is away, the holder ends and nobody follows it
        gate.touch()
    return Row(
        key="P6",
        what=f"submit of the {count:,}th job",
        unit="ms",
        ours=Series(tuple(last)),
        against=f"of the first {_SUBMITS * bench.rounds}",
        baseline=Series(tuple(first)),
        goal=1.2,
        note="all of them queued; the two sides cannot take turns",
    )


def _submit_cost(daemon: Daemon, gate: Path) -> float:
    """Give the median milliseconds of some submits, one after another."""
    document = job("filling", [gated(gate)])
    taken = []
    for _ in range(_SUBMITS):
        begun = time.perf_counter()
        daemon.submit(document)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1000


def _fill(daemon: Daemon, document: bytes, count: int) -> None:
    request = pb.SubmitRequest(job_yaml=document)
    with ThreadPoolExecutor(16) as pool:
        for _ in pool.map(lambda _: daemon.jobs.Submit(request), range(count)):
            pass
