"""Carrying a schedule out."""

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import processes
from schedule import Action, Schedule
from watchers import Follower
from world import CPUS, World

PATIENCE = 75.0
"""Seconds after the last fault until which every job must have ended."""


@dataclass(slots=True)
class Done:
    """What a schedule did, as far as it allows other ends of a job."""

    job_ids: dict[int, str] = field(default_factory=dict)
    retried: dict[int, str] = field(default_factory=dict)
    followers: list[Follower] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    module_killed: set[str] = field(default_factory=set)
    runner_kills: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    begun: float = 0.0


class Torment:
    """One run of one schedule in one world."""

    def __init__(self, world: World, schedule: Schedule) -> None:
        """Prepare."""
        self._world = world
        self._schedule = schedule
        self._chance = random.Random(schedule.seed)
        self._threads: list[threading.Thread] = []
        self._stopped: set[int] = set()
        self.done = Done()

    def run(self) -> Done:
        """Do everything, heal everything, and wait for the end of all jobs, also of those that are retried."""
        self.done.begun = begin = time.monotonic()
        for place, at in enumerate(self._schedule.submits):
            self._start(self._submit, place, begin + at)
        for action in self._schedule.actions:
            time.sleep(max(0.0, begin + action.at - time.monotonic()))
            getattr(self, f"_{action.kind}")(action)
        self._heal()
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
        for thread in self._threads:
            thread.join(PATIENCE)
            if thread.is_alive():
                self.done.wrong.append(f"a call is not answered within {PATIENCE:g} s: {thread.name}")
        deadline = time.monotonic() + PATIENCE
        for follower in tuple(self.done.followers):
            if not follower.join(deadline - time.monotonic()):
                self.done.wrong.append(f"job {follower.job_id} has not ended; its last event is {follower.seen[-1:]}")

    # -- what is done ------------------------------------------------------------------------------------------

    def _kill_daemon(self, action: Action) -> None:
        self._world.signal_daemon(signal.SIGKILL)
        self._later(action.seconds / 2, self._world.start)

    def _kill_daemon_twice(self, action: Action) -> None:
        """Kill the next one as well, while it takes back what the first has left."""

        def again() -> None:
            self._world.start()
            time.sleep(action.seconds / 3)
            self._world.signal_daemon(signal.SIGKILL)
            self._world.start()

        self._world.signal_daemon(signal.SIGKILL)
        self._start(again)

    def _restart_daemon(self, _action: Action) -> None:
        self._world.signal_daemon(signal.SIGTERM)

        def again() -> None:
            deadline = time.monotonic() + 30
            while self._world.alive and time.monotonic() < deadline:
                time.sleep(0.02)
            self._world.start()

        self._start(again)

    def _kill_runner(self, action: Action) -> None:
        job_id = self.done.job_ids.get(action.job)
        if job_id and processes.send(processes.runner_of(self._world.job_folder(job_id)), signal.SIGKILL):
            self.done.runner_kills[job_id] += 1

    def _kill_runner_and_daemon(self, action: Action) -> None:
        self._kill_runner(action)
        self._kill_daemon(action)

    def _cancel_killed_runner(self, action: Action) -> None:
        self._kill_runner(action)
        self._later(action.seconds / 30, self._cancel_now, action)

    def _kill_module(self, _action: Action) -> None:
        pid, job_id = self._some_module()
        if processes.send(pid, signal.SIGKILL):
            self.done.module_killed.add(job_id)

    def _kill_nursery(self, _action: Action) -> None:
        for pid in processes.nurseries(self._world.state):
            processes.send(pid, signal.SIGKILL)

    def _kill_prefect(self, _action: Action) -> None:
        processes.send(self._prefect(), signal.SIGKILL)

    def _stop_daemon(self, action: Action) -> None:
        if self._world.signal_daemon(signal.SIGSTOP):
            self._later(action.seconds, self._world.signal_daemon, signal.SIGCONT)

    def _stop_runner(self, action: Action) -> None:
        job_id = self.done.job_ids.get(action.job)
        self._pause(processes.runner_of(self._world.job_folder(job_id)) if job_id else None, action.seconds)

    def _stop_nursery(self, action: Action) -> None:
        self._pause(next(iter(processes.nurseries(self._world.state)), None), action.seconds)

    def _stop_module(self, action: Action) -> None:
        self._pause(self._some_module()[0], action.seconds)

    def _stop_prefect(self, action: Action) -> None:
        self._pause(self._prefect(), action.seconds)

    def _cancel(self, action: Action) -> None:
        self._start(self._cancel_now, action)

    def _cancel_twice(self, action: Action) -> None:
        for _ in range(2):
            self._start(self._cancel_now, action)

    def _cancel_now(self, action: Action) -> None:
        job_id = self.done.job_ids.get(action.job)
        if job_id:
            self.done.cancelled.add(job_id)
            self._world.cancel(job_id)

    def _cut(self, _action: Action) -> None:
        for follower in tuple(self.done.followers):
            if self._chance.random() < 0.7:
                follower.cut()

    # -- small things ------------------------------------------------------------------------------------------

    def _some_module(self) -> tuple[int | None, str]:
        found = sorted(processes.marked(set(self.done.job_ids.values())).items())
        return self._chance.choice(found) if found else (None, "")

    def _prefect(self) -> int | None:
        found = processes.of_state(self._world.state)
        return next((pid for pid, words in found.items() if "jobd.prefect_child" in words), None)

    def _pause(self, pid: int | None, seconds: float) -> None:
        if processes.send(pid, signal.SIGSTOP) and pid is not None:
            self._stopped.add(pid)
            self._later(seconds, processes.send, pid, signal.SIGCONT)

    def _heal(self) -> None:
        for thread in tuple(self._threads):
            thread.join(PATIENCE)
        for pid in self._stopped:
            processes.send(pid, signal.SIGCONT)
        self._world.signal_daemon(signal.SIGCONT)
        self._world.start()

    def _later(self, seconds: float, work: Callable[..., object], *arguments: object) -> None:
        def wait_and_work() -> None:
            time.sleep(seconds)
            work(*arguments)

        self._start(wait_and_work)

    def _start(self, work: Callable[..., object], *arguments: object) -> None:
        def guarded() -> None:
            try:
                work(*arguments)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
                self.done.wrong.append(f"{getattr(work, '__name__', work)}: {error!r}"[:400])

        thread = threading.Thread(target=guarded, name=getattr(work, "__name__", "work"), daemon=True)
        self._threads.append(thread)
        thread.start()


def probe_document(ledger: Path) -> bytes:
    """Give a job that needs the whole capacity, and so runs only when nobody holds a lease any more."""
    entry = {
        "module": "fault",
        "name": "e",
        "resources": {"cpus": CPUS},
        "params": {"ledger": str(ledger), "seconds": 0.01},
        "output_artifacts": [{"name": "o.bin", "param_name": "output", "type": "data", "public": True}],
    }
    return json.dumps({"name": "probe", "steps": [{"name": "s", "entries": [entry]}]}).encode()
