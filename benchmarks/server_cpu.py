"""P5: what a task run costs Prefect's server, as the daemon runs it and as it is shipped."""

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import processes
from benchmarks.bench import Bench
from benchmarks.daemon import BIN, BenchmarkError, Daemon, environment
from benchmarks.prefect_access import PrefectAccess
from benchmarks.row import Row, Series
from benchmarks.workload import copies, job

_START_SECONDS, _SETTLE_SECONDS, _STOP_SECONDS = 120.0, 120.0, 30.0


def measure_server_cpu(bench: Bench) -> list[Row]:
    """Take turns: the same job through the embedded server and through one as shipped."""
    count = bench.pick(200, 60)
    embedded = bench.daemon()
    bench.say("starting a Prefect server as it is shipped")
    with _shipped_server(bench.folder) as (pid, shipped), bench.serving(f"--prefect-api-url={shipped.url}") as other:
        ours, base = [], []
        for number in range(bench.pick(bench.rounds, 1)):
            embedded_pid = embedded.prefect_pid
            if embedded_pid is None:
                raise BenchmarkError("the embedded Prefect server is gone")
            ours.append(_cost(embedded, embedded_pid, embedded.prefect, count))
            base.append(_cost(other, pid, shipped, count))
            bench.say(f"round {number + 1}: embedded {ours[-1]:.1f} ms, as shipped {base[-1]:.1f} ms")
    row = Row(
        key="P5",
        what="Prefect server's processor time per task run",
        unit="ms",
        ours=Series(tuple(ours)),
        against="`prefect server start`",
        baseline=Series(tuple(base)),
        goal=0.3,
        note="what the server takes when idle is subtracted on both sides",
    )
    return [row]


def _cost(daemon: Daemon, pid: int, prefect: PrefectAccess, count: int) -> float:
    """Run a job; give the server's milliseconds for each task run, until it has recorded the last."""
    idle = _idle_rate(pid)
    begun, before = time.monotonic(), processes.cpu_seconds(processes.tree(pid))
    run = daemon.run(job("server", copies(count), copies=True), daemon.copy_input())
    _await_recorded(prefect, run.id, count)
    spent = processes.cpu_seconds(processes.tree(pid)) - before - idle * (time.monotonic() - begun)
    return spent * 1000 / count


def _idle_rate(pid: int, seconds: float = 4.0) -> float:
    begun, before = time.monotonic(), processes.cpu_seconds(processes.tree(pid))
    time.sleep(seconds)
    return (processes.cpu_seconds(processes.tree(pid)) - before) / (time.monotonic() - begun)


def _await_recorded(prefect: PrefectAccess, job_id: str, count: int) -> None:
    """Wait until the server knows that every task run has completed."""
    wanted = {
        "flow_runs": {"tags": {"all_": [f"job:{job_id}"]}},
        "task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
    }
    deadline = time.monotonic() + _SETTLE_SECONDS
    while int(prefect.ask("/task_runs/count", wanted)) < count:
        if time.monotonic() > deadline:
            raise BenchmarkError(f"the server at {prefect.url} did not record {count} task runs")
        time.sleep(1)


@contextlib.contextmanager
def _shipped_server(folder: Path) -> Iterator[tuple[int, PrefectAccess]]:
    """Give the process and the API of a server with no settings but its folder and its port."""
    home = Path(tempfile.mkdtemp(prefix="prefect-", dir=folder))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command: list[str | Path] = [BIN / "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    env = environment(home) | {"PREFECT_HOME": str(home)}
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        access = PrefectAccess(f"http://127.0.0.1:{port}/api")
        _await_healthy(server, access, home / "log")
        yield server.pid, access
    finally:
        _end(server)
        shutil.rmtree(home)


def _await_healthy(server: subprocess.Popen[bytes], prefect: PrefectAccess, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            prefect.ask("/health")
            return
        time.sleep(0.2)
    raise BenchmarkError(f"`prefect server start` did not come up: {log.read_text(errors='replace')[-1000:]}")


def _end(server: subprocess.Popen[bytes]) -> None:
    below = processes.tree(server.pid)
    server.send_signal(signal.SIGINT)
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        for pid in below:
            processes.kill_tree(pid)
        server.wait()
