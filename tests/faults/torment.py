"""Carrying a schedule out."""

import json
import random
import time
from pathlib import Path

import processes
from deeds import Deeds
from done import Done
from schedule import Schedule
from watchers import Follower
from workers import Workers
from world import CPUS, World

PATIENCE = 120.0
"""Seconds after the last fault until which every job must have ended."""


class Torment:
    """One run of one schedule in one world."""

    def __init__(self, world: World, schedule: Schedule) -> None:
        """Prepare."""
        self._world = world
        self._schedule = schedule
        self._chance = random.Random(schedule.seed)
        self.done = Done()
        self._workers = Workers(self.done.wrong)
        self._deeds = Deeds(world, self.done, self._chance, self._workers)

    def run(self) -> Done:
        """Do everything, heal everything, and wait for the end of all jobs, also of those that are retried."""
        self.done.begun = begin = time.monotonic()
        for place, at in enumerate(self._schedule.submits):
            self._workers.start(self._submit, place, begin + at)
        for action in self._schedule.actions:
            time.sleep(max(0.0, begin + action.at - time.monotonic()))
            self._deeds.do(action)
        self._deeds.heal(PATIENCE)
        self._await_jobs()
        for place, wanted in enumerate(self._schedule.retries):
            if wanted:
                self._retry(place)
        self._await_jobs()
        return self.done

    # -- jobs --------------------------------------------------------------------------------------------------

    def _submit(self, place: int, at: float) -> None:
        time.sleep(max(0.0, at - time.monotonic()))
        shape = self._schedule.shapes[place]
        job_id = self._world.submit(shape.document, f"{shape.name}-{self.done.begun}")
        self.done.job_ids[place] = job_id
        self._follow(job_id)

    def _follow(self, job_id: str) -> None:
        def living() -> list[str]:
            left = processes.marked({job_id})
            return [f"{len(left)} of its processes live at its terminal event: {sorted(left)}"] if left else []

        self.done.followers.append(Follower(self._world, job_id, at_end=living))
        if self._chance.random() < 0.3:
            self.done.followers.append(Follower(self._world, job_id))

    def _retry(self, place: int) -> None:
        job_id = self.done.job_ids.get(place)
        ends = {follower.seen[-1][1] for follower in self.done.followers if follower.job_id == job_id and follower.seen}
        if job_id is not None and ends & {"job_failed", "job_cancelled"}:
            self.done.retried[place] = self._world.retry(job_id, f"again-{job_id}")
            self._follow(self.done.retried[place])

    def _await_jobs(self) -> None:
        for name in self._workers.join(PATIENCE):
            self.done.wrong.append(f"a call is not answered within {PATIENCE:g} s: {name}")
        deadline = time.monotonic() + PATIENCE
        for follower in tuple(self.done.followers):
            if not follower.join(deadline - time.monotonic()):
                self.done.wrong.append(f"job {follower.job_id} has not ended; its last event is {follower.seen[-1:]}")


def probe_document(ledger: Path, cpus: int = CPUS) -> bytes:
    """Give a job that needs the whole capacity, and so runs only when nobody holds a lease any more."""
    entry = {
        "module": "fault",
        "name": "e",
        "resources": {"cpus": cpus},
        "params": {"ledger": str(ledger), "seconds": 0.01},
        "output_artifacts": [{"name": "o.bin", "param_name": "output", "type": "data", "public": True}],
    }
    return json.dumps({"name": "probe", "steps": [{"name": "s", "entries": [entry]}]}).encode()
