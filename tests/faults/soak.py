"""Puts an installation under load for a long time, and compares what it takes before, meanwhile and afterwards.

MINUTES says for how long (10). In each round 200 jobs of 20 entries run at once, and 500 watches follow them from a few
client programs. After every round the installation comes to rest and is measured; a growth from the first rest to the
last beyond the bounds, or a job or a watch that did not end as it must, is a failure.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import levels
from levels import KINDS, Level, Levels, Sampler
from prefect_record import unrecorded
from stored import load
from world import World

from jobd.states import JobState

CPUS = 200
_REST_SECONDS = 90.0
"""Runners have so long to be gone after their jobs, and the recorder to write down what Prefect missed."""
_PATIENCE_SECONDS = 1800.0
_MEMORY_RATIO, _MEMORY_MIB, _COUNT = 1.15, 24.0, 8
"""From the first rest to the last, memory may grow to the ratio and so much more, each count by so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked for."""

    minutes: float
    jobs: int
    entries: int
    watches: int
    clients: int


class Soak:
    """One run."""

    def __init__(self, options: Options, folder: Path) -> None:
        """Prepare a world with a Prefect server of its own."""
        self._options = options
        self._world = World(folder, cpus=CPUS, grace=60)
        self._rounds = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        """Run rounds until the time is up, at least two; print the table."""
        sampler = Sampler(self._world)
        try:
            self._world.start()
            self._warm_up()
            fresh, rests = levels.look(self._world), list[Levels]()
            sampler.start()
            end = time.monotonic() + self._options.minutes * 60
            while len(rests) < 2 or time.monotonic() < end:
                self._run_round()
                rests.append(self._rest())
            sampler.stop()
            self._print(fresh, rests[0], sampler.peak, rests[-1])
            self.wrong += _growth(rests[0], rests[-1])
        finally:
            left = self._world.close()
        self.wrong += [f"process {pid} outlived the daemon: {words}" for pid, words in left.items()]

    def _warm_up(self) -> None:
        """Run one job, so that Prefect's server and the nursery are up."""
        job_id = self._world.submit(self._document("first"), "first")
        for _message in self._world.watch(job_id, 0):
            pass

    def _run_round(self) -> None:
        self._rounds += 1
        begun, options = time.monotonic(), self._options
        crowds = [self._start_crowd() for _ in range(options.clients)]
        names = [f"round{self._rounds}-{number}" for number in range(options.jobs)]
        with ThreadPoolExecutor(8) as pool:
            ids = list(pool.map(lambda name: self._world.submit(self._document(name), name), names))
        for number in range(options.watches):
            pipe = crowds[number % len(crowds)].stdin
            assert pipe is not None
            pipe.write(ids[number % len(ids)].encode() + b"\n")
            pipe.flush()
        try:
            told = [json.loads(crowd.communicate(timeout=_PATIENCE_SECONDS)[0]) for crowd in crowds]
        finally:
            for crowd in crowds:
                crowd.kill()
        seconds = time.monotonic() - begun
        self._check_jobs(ids)
        self._check_watches(told)
        print(f"round {self._rounds}: {len(ids)} jobs of {options.entries} entries in {seconds:.0f} s", end=", ")
        print(f"{sum(tally['most_at_once'] for tally in told)} watches at once saw", end=" ")
        print(f"{sum(tally['events'] for tally in told)} events, each once and in order", flush=True)

    def _check_jobs(self, ids: list[str]) -> None:
        for job_id in ids:
            found = load(self._world.state, job_id)
            if found is None or found.job.state is not JobState.SUCCEEDED:
                self.wrong.append(f"job {job_id} is {found.job.state if found else 'gone'}")

    def _check_watches(self, told: list[dict[str, object]]) -> None:
        ended = sum(int(str(tally["ended"])) for tally in told)
        if ended != self._options.watches:
            self.wrong.append(f"{ended} of {self._options.watches} watches saw the end of their job")
        self.wrong += [str(tally["wrong"])[:300] for tally in told if tally["wrong"]]

    def _start_crowd(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, str(Path(__file__).with_name("crowd.py")), f"unix:{self._world.socket}"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _rest(self) -> Levels:
        """Wait until no runner is left and Prefect's record is whole, then measure."""
        deadline = time.monotonic() + _REST_SECONDS
        while self._is_at_work() and time.monotonic() < deadline:
            time.sleep(1)
        if (left := levels.look(self._world).get("runners")) is not None:
            self.wrong.append(f"{left.processes} runners are left {_REST_SECONDS:g} s after the last job")
        return levels.look(self._world)

    def _is_at_work(self) -> bool:
        return "runners" in levels.look(self._world) or bool(unrecorded(self._world))

    def _document(self, name: str) -> bytes:
        count = self._options.entries
        entries = [
            {
                "module": "fault",
                "name": f"e{number}",
                "params": {"ledger": str(self._world.ledger), "seconds": 1.0},
                "output_artifacts": [{"name": f"a{number}", "param_name": "output", "type": "data"}],
            }
            for number in range(count)
        ]
        half = max(1, count // 2)
        steps = [{"name": f"s{n}", "entries": part} for n, part in enumerate((entries[:half], entries[half:])) if part]
        return json.dumps({"name": name, "steps": steps}).encode()

    def _print(self, *columns: Levels) -> None:
        print(f"{self._rounds} rounds; {len(unrecorded(self._world))} jobs are not in Prefect's record yet")
        print(f"{'':24}{'fresh':>10}{'1st rest':>10}{'peak':>10}{'last rest':>10}")
        for kind in KINDS:
            for name in ("processes", "mib", "descriptors", "threads"):
                values = [getattr(column.get(kind, Level()), name) for column in columns]
                print(f"{kind + ' ' + name:24}" + "".join(f"{value:>10.0f}" for value in values))


def _growth(first: Levels, last: Levels) -> Iterator[str]:
    for kind in KINDS:
        one, other = first.get(kind, Level()), last.get(kind, Level())
        if other.mib > one.mib * _MEMORY_RATIO + _MEMORY_MIB:
            yield f"the memory of {kind} grew from {one.mib:.0f} to {other.mib:.0f} MiB"
        for name in ("processes", "descriptors", "threads"):
            before, after = getattr(one, name), getattr(other, name)
            if after > before + (0 if name == "processes" else _COUNT):
                yield f"the {name} of {kind} grew from {before} to {after}"


def main() -> int:
    """Run; gives 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("MINUTES") or 10))
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--entries", type=int, default=20)
    parser.add_argument("--watches", type=int, default=500)
    parser.add_argument("--clients", type=int, default=5)
    options = Options(**vars(parser.parse_args()))
    folder = Path(tempfile.mkdtemp(prefix="jl"))
    soak = Soak(options, folder)
    soak.run()
    for text in soak.wrong:
        print(f"WRONG {text}")
    print(f"{'FAILED' if soak.wrong else 'passed'}: {len(soak.wrong)} things are wrong")
    if soak.wrong:
        print(f"all that is left is in {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    sys.exit(main())
