"""How long jobs take while Prefect is broken in each way, and how long their runners stay after them.

Each is measured beside the same job in an installation whose Prefect works: what else the machine does slows both.
"""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import processes
from prefect_proxy import Breakage
from stored import load
from watchers import Follower
from world import World

RATIO = 1.1
"""A running job may take so much of its usual time when Prefect breaks."""
RUNNER_SECONDS = 45.0
"""A runner ends at most so long after its job, whatever Prefect does."""
_STEPS = 4
_ENTRY_SECONDS = 2.0
_TRIES = 3
"""A job is slow when it is slow so often in a row: the machine has other work as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What became of one job."""

    seconds: float
    """From its start to its end, by its own events."""
    runner_seconds: float
    """How long its runner lived after that."""
    ending: str


class Pace:
    """Measures, one breakage after another."""

    def __init__(self, folder: Path, prefect_api_url: str) -> None:
        """Prepare a world whose Prefect breaks and one whose Prefect does not."""
        self._broken = World(folder / "broken", prefect_api_url=prefect_api_url)
        self._usual = World(folder / "usual", prefect_api_url=prefect_api_url)
        self._count = 0

    def measure(self, breakages: tuple[Breakage, ...] = tuple(Breakage)) -> list[str]:
        """Print a line for each way of breaking; give what is beyond the bounds."""
        worlds = (self._broken, self._usual)
        try:
            for world in worlds:
                world.start()
            self._run_both(Breakage.NONE)  # the first job of a nursery pays for what it loads
            found = [text for breakage in breakages for text in self._compare(breakage)]
        finally:
            left = [world.close() for world in worlds]
        return found + [f"process {pid} outlived the daemon: {words}" for those in left for pid, words in those.items()]

    def _compare(self, breakage: Breakage) -> list[str]:
        found: list[str] = []
        for _try in range(_TRIES):
            broken, usual = self._run_both(breakage)
            ratio = broken.seconds / usual.seconds
            took = f"a running job took {broken.seconds:.2f} s, {ratio:.3f} of {usual.seconds:.2f} s: {broken.ending}"
            print(f"Prefect {breakage}: {took}; its runner ended {broken.runner_seconds:.1f} s later", flush=True)
            found = list(_judge(breakage, broken, ratio))
            if not found:
                break
        return found

    def _run_both(self, breakage: Breakage) -> tuple[Run, Run]:
        self._count += 1
        with ThreadPoolExecutor(2) as pool:
            broken = pool.submit(run, self._broken, f"broken-{self._count}", breakage)
            usual = pool.submit(run, self._usual, f"usual-{self._count}", Breakage.NONE)
            return broken.result(), usual.result()


def _judge(breakage: Breakage, broken: Run, ratio: float) -> list[str]:
    where = f"with Prefect {breakage}"
    found = [f"I12 {where} a job ended with {broken.ending}"] if broken.ending != "job_succeeded" else []
    found += [f"I12 {where} a job takes {ratio:.3f} of its usual time"] if ratio > RATIO else []
    stays = broken.runner_seconds > RUNNER_SECONDS
    return found + ([f"I12 {where} a runner stays {broken.runner_seconds:.1f} s"] if stays else [])


def run(world: World, name: str, breakage: Breakage) -> Run:
    """Run a job, and break its world's Prefect once its first entry runs, until its runner has ended."""
    assert world.proxy is not None
    job_id = world.submit(_document(world.ledger, name), name)
    follower = Follower(world, job_id)
    while not any(kind == "entry_started" for _sequence, kind in follower.seen):
        time.sleep(0.01)
    world.proxy.behave(breakage)
    follower.join(120)
    ended, lock = time.monotonic(), world.job_folder(job_id) / "runner.lock"
    while processes.lock_is_held(lock) and time.monotonic() - ended < 3 * RUNNER_SECONDS:
        time.sleep(0.05)
    stayed = time.monotonic() - ended
    world.proxy.behave(Breakage.NONE)
    stored = load(world.state, job_id)
    assert stored is not None, "an accepted job is in the store"
    seconds = (stored.job.ended or 0.0) - (stored.job.started or 0.0)
    return Run(seconds=seconds, runner_seconds=stayed, ending=follower.seen[-1][1])


def _document(ledger: Path, name: str) -> bytes:
    """Give a job whose usual time is that of its modules' sleep."""
    params = {"ledger": str(ledger), "seconds": _ENTRY_SECONDS}
    steps = [
        {
            "name": f"s{place}",
            "entries": [
                {
                    "module": "fault",
                    "name": f"e{number}",
                    "params": params,
                    "output_artifacts": [{"name": f"a{place}-{number}", "param_name": "output", "type": "data"}],
                }
                for number in range(2)
            ],
        }
        for place in range(_STEPS)
    ]
    return json.dumps({"name": name, "steps": steps}).encode()
