"""P8: what jobctl takes from whoever types it, beside an interpreter that imports gRPC."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.daemon import BIN, BenchmarkError, environment
from benchmarks.row import Row, Series
from benchmarks.workload import gated, job

_KEY, _AGAINST = "P8", "`python -c 'import grpc'`"


@dataclass(frozen=True, slots=True)
class _Cost:
    cpu_ms: float
    wall_ms: float


def measure_commands(bench: Bench) -> list[Row]:
    """Take turns between the two commands and the bare import; the figure is the client's own processor time."""
    daemon = bench.daemon()
    gate, file = bench.folder / "command-gate", bench.folder / "command.yaml"
    file.write_bytes(job("command", [gated(gate)]))
    commands: dict[str, list[str | Path]] = {
        "jobctl --help": [BIN / "jobctl", "--help"],
        "jobctl submit": [BIN / "jobctl", "--address", daemon.address, "submit", file],
        "import": [sys.executable, "-c", "import grpc"],
    }
    daemon.submit(job("holder", [gated(gate)]))  # so that no job of these runs meanwhile
    try:
        taken = _take_turns(bench, commands)
    finally:
        daemon.clear()
    return [_row(taken, "jobctl --help", 1.5), _row(taken, "jobctl submit", 2.5)]


def _take_turns(bench: Bench, commands: dict[str, list[str | Path]]) -> dict[str, list[_Cost]]:
    taken: dict[str, list[_Cost]] = {name: [] for name in commands}
    for command in commands.values():
        _run(command, bench.folder)
    for _ in range(bench.rounds):
        turns = [[_run(command, bench.folder) for command in commands.values()] for _ in range(bench.pick(10, 5))]
        for name, costs in zip(commands, zip(*turns, strict=True), strict=True):
            taken[name].append(_median(costs))
    return taken


def _run(command: list[str | Path], home: Path) -> _Cost:
    begun = time.perf_counter()
    with (home / "command.err").open("wb") as talk:
        process = subprocess.Popen(command, env=environment(home), stdout=subprocess.DEVNULL, stderr=talk)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        told = (home / "command.err").read_text(errors="replace").strip()
        raise BenchmarkError(f"{command} ended with {process.returncode}: {told}")
    return _Cost((used.ru_utime + used.ru_stime) * 1000, wall * 1000)


def _median(costs: Iterable[_Cost]) -> _Cost:
    costs = list(costs)
    return _Cost(statistics.median(c.cpu_ms for c in costs), statistics.median(c.wall_ms for c in costs))


def _row(taken: dict[str, list[_Cost]], name: str, goal: float) -> Row:
    walls = {each: statistics.median(cost.wall_ms for cost in taken[each]) for each in (name, "import")}
    return Row(
        key=_KEY,
        what=f"{name}, processor time",
        unit="ms",
        ours=Series(tuple(cost.cpu_ms for cost in taken[name])),
        against=_AGAINST,
        baseline=Series(tuple(cost.cpu_ms for cost in taken["import"])),
        goal=goal,
        note=f"by the clock {walls[name]:.0f} ms and {walls['import']:.0f} ms",
    )
