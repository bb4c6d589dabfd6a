"""P3: from Submit to the first line of the first module, beside a bare flow called in a warm interpreter."""

import statistics
import subprocess
import sys
from pathlib import Path
from typing import Self

from benchmarks.bench import Bench
from benchmarks.daemon import BenchmarkError, Daemon, environment
from benchmarks.row import Row, Series
from benchmarks.workload import job

_DOCUMENT = job("first line", [{"module": "stamp"}])


def measure_first_line(bench: Bench) -> list[Row]:
    """Take turns between a submit and a call of the flow, each on an idle machine."""
    daemon = bench.daemon()
    samples = bench.pick(5, 2)
    with _BareFlow(bench, daemon) as flow:
        for _ in range(2):  # the first calls import and connect
            _submit_to_line(daemon)
            flow.call()
        ours, base = [], []
        for number in range(bench.rounds):
            pairs = [(_submit_to_line(daemon), _call(daemon, flow)) for _ in range(samples)]
            ours.append(statistics.median(pair[0] for pair in pairs))
            base.append(statistics.median(pair[1] for pair in pairs))
            bench.say(f"round {number + 1}: jobd {ours[-1]:.0f} ms, bare flow {base[-1]:.0f} ms")
    row = Row(
        key="P3",
        what="submit to the first line of a module",
        unit="ms",
        ours=Series(tuple(ours)),
        against="bare flow, called in process",
        baseline=Series(tuple(base)),
        goal=1.0,
    )
    return [row]


def _submit_to_line(daemon: Daemon) -> float:
    daemon.settle()
    run = daemon.run(_DOCUMENT)
    first = daemon.printed(run.id).split()[0]
    return (float(first) - run.begun) * 1000


def _call(daemon: Daemon, flow: "_BareFlow") -> float:
    daemon.settle()
    return flow.call()


class _BareFlow:
    """The other side: an interpreter that is warm, and a flow in it."""

    def __init__(self, bench: Bench, daemon: Daemon) -> None:
        self._env = environment(bench.folder) | daemon.prefect.environment

    def __enter__(self) -> Self:
        command = [sys.executable, str(Path(__file__).parent / "bare_flow.py")]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, env=self._env, stdin=pipe, stdout=pipe, text=True, bufsize=1)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def call(self) -> float:
        """Give the milliseconds until its body was reached."""
        if self._process.stdin is None or self._process.stdout is None:
            raise BenchmarkError("the bare flow has no pipes")
        self._process.stdin.write("\n")
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError("the bare flow ended; see its error above")
        return float(line) * 1000
