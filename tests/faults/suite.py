"""All schedules of one call, dealt out to installations that run side by side."""

import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import invariants
import quiet
import schedule
from done import Done
from ending import check_end
from prefect_record import check_record
from schedule import Place, Schedule
from shapes import Shape
from torment import Torment, probe_document
from world import World

CPUS = 12
_WORLDS = {Place.PROXY: 2, Place.DISK: 1, Place.OWN: 1}
"""How many installations of each kind there are at most, side by side."""
_PROBE_SECONDS = 25.0

Batch = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked for."""

    seeds: tuple[int, ...]
    together: int
    """So many schedules run at once in one installation."""
    folder: Path
    disks: bool
    """Whether this user may mount disks."""
    keep: bool
    record: bool
    """Whether to wait, at the end, until Prefect's record equals ours."""
    pace: bool
    """Whether to measure, at the end, jobs that run while Prefect is broken."""


class Suite:
    """Runs them, and remembers what was violated."""

    def __init__(self, options: Options, prefect_api_url: str) -> None:
        """Deal out the seeds."""
        self._options = options
        self._prefect_api_url = prefect_api_url
        self._lock = threading.Lock()
        self._batches: dict[Place, queue.SimpleQueue[Batch]] = {place: queue.SimpleQueue() for place in Place}
        for place in Place:
            seeds = [seed for seed in options.seeds if schedule.place_of(seed) is place]
            for first in range(0, len(seeds), options.together):
                self._batches[place].put(tuple(seeds[first : first + options.together]))
        self.ran = 0
        self.jobs = 0
        self.deeds: Counter[str] = Counter()
        self.violations: dict[str, list[str]] = {}

    def run(self) -> None:
        """Run them all."""
        places = [place for place, most in _WORLDS.items() for _ in range(min(most, self._batches[place].qsize()))]
        threads = [threading.Thread(target=self._inhabit, args=(n, place)) for n, place in enumerate(places)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _inhabit(self, number: int, place: Place) -> None:
        """Run batches in one world until none is left, then end it and check what only the end can tell."""
        name = f"world {number} ({place})"
        url = "" if place is Place.OWN else self._prefect_api_url
        disk = place is Place.DISK and self._options.disks
        world = World(self._options.folder / f"w{number}", prefect_api_url=url, small_disk=disk, cpus=CPUS)
        job_ids: set[str] = set()
        try:
            _begin(world)
            while (batch := self._next(place)) is not None:
                job_ids |= self._run_batch(world, name, batch)
            if self._options.record:
                self._tell(name, list(check_record(world, job_ids)))
            self._tell(name, list(check_end(world)))
        except Exception as error:  # noqa: BLE001 - a world that breaks down is a finding as well
            self._tell(name, [f"the world broke down: {error}"])
        finally:
            left = world.close()
            self._tell(name, [f"process {pid} outlived the daemon: {words}" for pid, words in left.items()])

    def _next(self, place: Place) -> Batch | None:
        try:
            return self._batches[place].get_nowait()
        except queue.Empty:
            return None

    def _run_batch(self, world: World, name: str, seeds: Batch) -> set[str]:
        plans = [schedule.make(seed, world.ledger) for seed in seeds]
        begun, offset = time.monotonic(), len(world.log)
        with ThreadPoolExecutor(len(plans)) as pool:
            dones = list(pool.map(lambda plan: Torment(world, plan).run(), plans))
        shapes = [_shapes_of(plan, done) for plan, done in zip(plans, dones, strict=True)]
        job_ids = {job_id for those in shapes for job_id in those}
        together = f"seeds {','.join(map(str, seeds))} together"
        self._tell(together, list(quiet.check_world(world, job_ids, world.log[offset:])))
        for plan, done, those in zip(plans, dones, shapes, strict=True):
            found = list(invariants.check_schedule(world, those, done))
            self._tell_schedule(plan, len(those), found, time.monotonic() - begun)
        self._tell(together, list(_probe(world, seeds[0])))
        with self._lock:
            print(f"  {together} in {name}: {time.monotonic() - begun:.1f} s", flush=True)
        return job_ids

    def _tell_schedule(self, plan: Schedule, jobs: int, found: list[str], seconds: float) -> None:
        with self._lock:
            self.ran += 1
            self.jobs += jobs
            self.deeds.update(f"{action.kind} {action.how}".strip() for action in plan.actions)
            print(f"seed {plan.seed}: {len(found)} violations, {seconds:.1f} s; {plan}", flush=True)
        self._tell(f"seed {plan.seed}", found)

    def _tell(self, who: str, found: list[str]) -> None:
        with self._lock:
            if found:
                self.violations.setdefault(who, []).extend(found)
                for text in found:
                    print(f"  {who} VIOLATION {text}", flush=True)


def _begin(world: World) -> None:
    world.start()
    if not world.alive:
        raise RuntimeError(f"the daemon does not start: {world.log[-1500:]}")


def _shapes_of(plan: Schedule, done: Done) -> dict[str, Shape]:
    return {job_id: plan.shapes[place] for ids in (done.job_ids, done.retried) for place, job_id in ids.items()}


def _probe(world: World, seed: int) -> Iterator[str]:
    """See that no lease is held: a job of full capacity runs at once."""
    begun = time.monotonic()
    try:
        job_id = world.submit(probe_document(world.ledger, CPUS), f"probe-{seed}-{begun}")
        for _message in world.watch(job_id, 0):
            pass
    except Exception as error:  # noqa: BLE001 - told
        yield f"I10 a job of full capacity does not run: {error!r}"[:300]
        return
    if time.monotonic() - begun > _PROBE_SECONDS:
        yield f"I10 a job of full capacity took {time.monotonic() - begun:.1f} s: a lease was held"
