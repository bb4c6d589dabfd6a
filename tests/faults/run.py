"""Runs seeded random schedules of faults and checks after each that every promise was kept.

SEED is the first seed (by default the time), COUNT how many follow, WORLDS how many installations run side by side.
"""

import argparse
import os
import queue
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import invariants
import schedule
from prefect_place import PrefectPlace
from prefect_record import check_record
from shapes import Shape
from torment import Torment, probe_document
from world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked for."""

    seed: int
    count: int
    worlds: int
    own_prefect: int
    """Every so many-th schedule runs in a world with a Prefect server of its own that is killed as well; 0 for none."""
    folder: Path
    keep: bool
    record: bool
    """Whether to wait, at the end, until Prefect's record equals ours."""


class Suite:
    """All schedules of one call."""

    def __init__(self, options: Options, prefect: PrefectPlace) -> None:
        """Deal out the seeds."""
        self._options = options
        self._prefect = prefect
        self._lock = threading.Lock()
        self._queues: dict[bool, queue.SimpleQueue[int]] = {True: queue.SimpleQueue(), False: queue.SimpleQueue()}
        for number in range(options.count):
            own = bool(options.own_prefect) and number % options.own_prefect == options.own_prefect - 1
            self._queues[own].put(options.seed + number)
        self.ran = 0
        self.jobs = 0
        self.violations: dict[int, list[str]] = {}

    def run(self) -> None:
        """Run them all."""
        owns = [False] * self._options.worlds + ([True] if not self._queues[True].empty() else [])
        threads = [threading.Thread(target=self._inhabit, args=(n, own)) for n, own in enumerate(owns)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _inhabit(self, number: int, own: bool) -> None:
        """Run schedules in one world until none is left, then end it and check what only the end can tell."""
        url = "" if own else self._prefect.api_url
        world = World(self._options.folder / f"w{number}", prefect_api_url=url)
        shapes: dict[str, Shape] = {}
        try:
            world.start()
            while (seed := self._next(own)) is not None:
                found = self._run_one(world, seed, own, shapes)
                self._tell(seed, found)
            if self._options.record:
                self._tell_end(number, list(check_record(world, set(shapes))))
        except Exception as error:  # a world that breaks down is a finding as well
            self._tell_end(number, [f"the world broke down: {error!r}"])
            if self._options.keep:
                raise
        finally:
            left = world.close()
            self._tell_end(number, [f"process {pid} outlived the daemon: {words}" for pid, words in left.items()])

    def _next(self, own: bool) -> int | None:
        try:
            return self._queues[own].get_nowait()
        except queue.Empty:
            return None

    def _run_one(self, world: World, seed: int, own: bool, shapes: dict[str, Shape]) -> list[str]:
        plan = schedule.make(seed, world.ledger, prefect=own)
        begun, offset = time.monotonic(), len(world.log)
        done = Torment(world, plan).run()
        of_this = {job_id: plan.shapes[place] for ids in (done.job_ids, done.retried) for place, job_id in ids.items()}
        found = list(invariants.check_schedule(world, of_this, done, world.log[offset:]))
        found += self._probe(world, seed)
        shapes |= of_this
        with self._lock:
            self.jobs += len(of_this)
            print(f"seed {seed}: {len(found)} violations, {time.monotonic() - begun:.1f} s; {plan}", flush=True)
        return found

    def _probe(self, world: World, seed: int) -> Iterator[str]:
        """See that no lease is held: a job of full capacity runs at once."""
        begun = time.monotonic()
        try:
            job_id = world.submit(probe_document(world.ledger), f"probe-{seed}-{begun}")
            for _message in world.watch(job_id, 0):
                pass
        except Exception as error:  # noqa: BLE001 - told
            yield f"I10 a job of full capacity does not run: {error!r}"[:300]
            return
        if time.monotonic() - begun > 25:
            yield f"I10 a job of full capacity took {time.monotonic() - begun:.1f} s: a lease was held"

    def _tell(self, seed: int, found: list[str]) -> None:
        with self._lock:
            self.ran += 1
            if found:
                self.violations[seed] = found
                for text in found:
                    print(f"  seed {seed} VIOLATION {text}", flush=True)

    def _tell_end(self, number: int, found: list[str]) -> None:
        with self._lock:
            if found:
                self.violations.setdefault(-1 - number, []).extend(found)
                for text in found:
                    print(f"  world {number} VIOLATION {text}", flush=True)


def main() -> int:
    """Run; gives 1 when anything was violated."""
    options = _options()
    print(f"SEED={options.seed} COUNT={options.count} in {options.folder}", flush=True)
    begun = time.monotonic()
    with PrefectPlace(options.folder / "prefect") as prefect:
        suite = Suite(options, prefect)
        suite.run()
    violated = sum(map(len, suite.violations.values()))
    seeds = f"{options.seed}..{options.seed + options.count - 1}"
    print(f"{suite.ran} schedules (seeds {seeds}), {suite.jobs} jobs, {violated} violations", end=" ")
    print(f"in {time.monotonic() - begun:.0f} s")
    if violated or options.keep or suite.ran < options.count:
        print(f"all that is left is in {options.folder}; `SEED=<seed> COUNT=1` runs one again")
    else:
        shutil.rmtree(options.folder)
    return 1 if violated or suite.ran < options.count else 0


def _options() -> Options:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--seed", type=int, default=int(os.environ.get("SEED") or int(time.time())))
    add("--count", type=int, default=int(os.environ.get("COUNT") or 200))
    add("--worlds", type=int, default=int(os.environ.get("WORLDS") or 3))
    add("--own-prefect", type=int, default=10, help="every Nth schedule kills a Prefect server too; 0 for none")
    add("--folder", type=Path, default=None)
    add("--keep", action="store_true", help="remove nothing at the end")
    add("--no-record", dest="record", action="store_false", help="do not wait for Prefect's record")
    given = vars(parser.parse_args())
    # Short, because a unix socket's path is.
    given["folder"] = (given["folder"] or Path(tempfile.mkdtemp(prefix="jf"))).absolute()
    given["folder"].mkdir(parents=True, exist_ok=True)
    return Options(**given)


if __name__ == "__main__":
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    sys.exit(main())
