"""P7: what a daemon with a long past costs when there is nothing to do."""

import time

from benchmarks import processes
from benchmarks.bench import Bench
from benchmarks.daemon import Daemon
from benchmarks.history import multiply
from benchmarks.row import Row, row
from benchmarks.workload import copies, job


def measure_idle(bench: Bench) -> list[Row]:
    """Fill a store, and watch the daemon do nothing."""
    bench.release()
    with bench.serving() as daemon:
        run = daemon.run(job("past", copies(bench.pick(250, 50)), copies=True), daemon.copy_input())
        daemon.stop()
        events = multiply(daemon.state / "jobd.db", run.id, bench.pick(100_000, 10_000))
        daemon.start()
        daemon.await_ready()
        bench.say(f"{events:,} events are in the store")
        time.sleep(bench.pick(15, 5))  # the start itself, with its first look at everything
        shares = [_cpu_share(daemon, bench.pick(30, 5)) for _ in range(bench.pick(min(3, bench.rounds), 1))]
        memory = processes.proportional_mib(daemon.own_processes())
        parts = ", ".join(f"{_name(pid)} {processes.proportional_mib([pid]):.0f}" for pid in daemon.own_processes())
    what = f"idle, {events:,} events: "
    return [
        row("P7", what + "processor", "% of a core", shares, goal=0.5, note="all but the Prefect server"),
        row("P7", what + "memory", "MiB", [memory], goal=250 * 1e6 / 2**20, note=f"proportional set size: {parts}"),
    ]


def _cpu_share(daemon: Daemon, seconds: float) -> float:
    begun, before = time.monotonic(), processes.cpu_seconds(daemon.own_processes())
    time.sleep(seconds)
    return (processes.cpu_seconds(daemon.own_processes()) - before) * 100 / (time.monotonic() - begun)


def _name(pid: int) -> str:
    """Name a process by the last module or word of its command line that says something."""
    words = processes.command(pid).split()
    return next((word.rpartition("/")[2] for word in words if word.startswith("jobd.") or word.endswith("/jobd")), "?")
