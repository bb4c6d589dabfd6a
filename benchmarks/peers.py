"""Others that run the same scripts, two at a time, where they are installed."""

import contextlib
import importlib.util
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.daemon import environment
from benchmarks.pool import WIDTH, copy_command
from benchmarks.prefect_access import PrefectAccess
from benchmarks.workload import Workload

_SECONDS = 600.0
"""A peer that takes longer has broken down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The same work for everybody: the copying script, so many times."""

    workload: Workload
    module: str
    count: int
    folder: Path
    """Empty, for whatever a peer writes; the outputs are to be `out-N` in it."""
    prefect: PrefectAccess
    """For the peer that needs a server."""

    def command(self, output: str) -> list[str]:
        """Give the command line of one run."""
        return copy_command(self.workload, self.module, output)


@dataclass(frozen=True, slots=True)
class Peer:
    """Another program for the same work; `run` gives the seconds it took."""

    name: str
    run: Callable[[Task], float]


def installed() -> list[Peer]:
    """List the peers that can be run here."""
    programs = [("make", "make", _run_make), ("GNU parallel", "parallel", _run_parallel)]
    programs += [("HyperQueue", "hq", _run_hyperqueue), ("Snakemake", "snakemake", _run_snakemake)]
    found = [Peer(name, run) for name, program, run in programs if shutil.which(program)]
    return [*found, *([Peer("plain Prefect", _run_prefect)] if importlib.util.find_spec("prefect") else [])]


def _timed(task: Task, command: list[str], stdin: str | None = None) -> float:
    begun = time.perf_counter()
    env = environment(task.folder)
    subprocess.run(command, input=stdin, text=True, cwd=task.folder, env=env, check=True, stdout=2, timeout=_SECONDS)
    return time.perf_counter() - begun


def _run_make(task: Task) -> float:
    names = [f"out-{number}" for number in range(task.count)]
    rule = shlex.join(task.command("OUT")).replace("OUT", "$@")
    (task.folder / "Makefile").write_text(f"all: {' '.join(names)}\nout-%:\n\t@{rule}\n")
    return _timed(task, ["make", "-s", f"-j{WIDTH}"])


def _run_parallel(task: Task) -> float:
    numbers = "".join(f"{number}\n" for number in range(task.count))
    return _timed(task, ["parallel", f"-j{WIDTH}", *task.command("out-{}")], numbers)


def _run_hyperqueue(task: Task) -> float:
    with _hyperqueue(task):
        script = shlex.join(task.command("OUT")).replace("OUT", '"out-$HQ_TASK_ID"')
        submit = ["hq", "submit", f"--array=0-{task.count - 1}", "--wait", "--stdout=none", "--stderr=none"]
        return _timed(task, [*submit, "--", "sh", "-c", f"exec {script}"])


@contextlib.contextmanager
def _hyperqueue(task: Task) -> Iterator[None]:
    """Have a server and a worker of two cpus run within the block; both are warm when it begins."""
    env = environment(task.folder)
    with contextlib.ExitStack() as stack:
        for words in (["server", "start"], ["worker", "start", f"--cpus={WIDTH}"]):
            process = subprocess.Popen(["hq", *words], cwd=task.folder, env=env, stdout=2)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            time.sleep(2)
        yield


def _run_snakemake(task: Task) -> float:
    rule = shlex.join(task.command("OUT")).replace("OUT", "{output}")
    (task.folder / "Snakefile").write_text(
        f'rule all:\n    input: expand("out-{{n}}", n=range({task.count}))\n'
        f'rule one:\n    output: "out-{{n}}"\n    shell: {rule!r}\n'
    )
    return _timed(task, ["snakemake", "--quiet", "all", f"--cores={WIDTH}"])


def _run_prefect(task: Task) -> float:
    """Run a flow that maps the script; its time is that of the flow, without the import of Prefect."""
    script = Path(__file__).parent / "plain_flow.py"
    command = [sys.executable, str(script), str(task.count), str(WIDTH), *task.command("out")]
    env = environment(task.folder) | task.prefect.environment
    done = subprocess.run(command, env=env, cwd=task.folder, check=True, stdout=subprocess.PIPE, timeout=_SECONDS)
    return float(done.stdout.split()[-1])
