"""P7: what a daemon with a long past costs when there is nothing to do."""

import time

from jobapi.v1 import job_service_pb2 as pb

from benchmarks import processes
from benchmarks.bench import Bench
from benchmarks.daemon import BenchmarkError, Daemon
from benchmarks.history import multiply
from benchmarks.row import Row, row
from benchmarks.workload import copies, job

_RECORDED_SECONDS = 120.0


def measure_idle(bench: Bench) -> list[Row]:
    """Fill a store, and watch the daemon do nothing."""
    bench.release()
    with bench.serving() as daemon:
        run = daemon.run(job("past", copies(bench.pick(250, 50)), copies=True), daemon.copy_input())
        _await_recorded(daemon, run.id)
        daemon.stop()
        events = multiply(daemon.state / "jobd.db", run.id, bench.pick(100_000, 10_000))
        daemon.start()
        daemon.await_ready()
        bench.say(f"{events:,} events are in the store")
        time.sleep(bench.pick(20, 8))  # the start itself, with its first look at everything
        looks = [_look(daemon, bench.pick(30, 10)) for _ in range(bench.pick(min(3, bench.rounds), 1))]
        memory = processes.proportional_mib(daemon.own_processes())
        parts = ", ".join(f"{_name(pid)} {processes.proportional_mib([pid]):.0f}" for pid in daemon.own_processes())
    what, shares, wakes = f"idle, {events:,} events: ", [share for share, _ in looks], [wakes for _, wakes in looks]
    note = f"all but the Prefect server; its threads wake {sorted(wakes)[len(wakes) // 2]:.1f} times a second"
    return [
        row("P7", what + "processor", "% of a core", shares, goal=0.5, note=note),
        row("P7", what + "memory", "MiB", [memory], goal=250 * 1e6 / 2**20, note=f"proportional set size: {parts}"),
    ]


def _await_recorded(daemon: Daemon, job_id: str) -> None:
    """Wait until Prefect's record of a job is whole: its copies would be taken for jobs that Prefect has missed."""
    deadline = time.monotonic() + _RECORDED_SECONDS
    while not daemon.jobs.Get(pb.GetRequest(id=job_id)).job.recorded:
        if time.monotonic() > deadline:
            raise BenchmarkError(f"the record of the job {job_id} was not whole after {_RECORDED_SECONDS:g} s")
        time.sleep(0.5)


def _look(daemon: Daemon, seconds: float) -> tuple[float, float]:
    """Give the share of a core, in percent, and how often a second a thread has woken."""
    pids = daemon.own_processes()
    begun, spent, woken = time.monotonic(), processes.cpu_seconds(pids), processes.wakes(pids)
    time.sleep(seconds)
    passed = time.monotonic() - begun
    return (processes.cpu_seconds(pids) - spent) * 100 / passed, (processes.wakes(pids) - woken) / passed


def _name(pid: int) -> str:
    """Name a process by the last module or word of its command line that says something."""
    words = processes.command(pid).split()
    return next((word.rpartition("/")[2] for word in words if word.startswith("jobd.") or word.endswith("/jobd")), "?")
