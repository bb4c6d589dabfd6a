"""What may be done to a world while its jobs run, a method for each kind of action."""

import random
import signal
import time

import processes
from done import Done
from prefect_proxy import Breakage
from schedule import Action
from workers import Workers
from world import World


class Deeds:
    """Does the actions of one schedule."""

    def __init__(self, world: World, done: Done, chance: random.Random, workers: Workers) -> None:
        """Prepare; what is done is noted in `done`."""
        self._world = world
        self._done = done
        self._chance = chance
        self._workers = workers
        self._stopped: set[int] = set()

    def do(self, action: Action) -> None:
        """Do one action; what takes time goes on in a thread."""
        getattr(self, f"_{action.kind}")(action)

    def heal(self, seconds: float) -> None:
        """Undo whatever lasts, and have a daemon."""
        self._workers.join(seconds)
        for pid in self._stopped:
            processes.send(pid, signal.SIGCONT)
        self._world.signal_daemon(signal.SIGCONT)
        self._world.start()

    def _kill_daemon(self, action: Action) -> None:
        self._world.signal_daemon(signal.SIGKILL)
        self._workers.later(action.seconds / 2, self._world.start)

    def _kill_daemon_twice(self, action: Action) -> None:
        """Kill the next one as well, while it takes back what the first has left."""

        def again() -> None:
            self._world.start()
            time.sleep(action.seconds / 3)
            self._world.signal_daemon(signal.SIGKILL)
            self._world.start()

        self._world.signal_daemon(signal.SIGKILL)
        self._workers.start(again)

    def _restart_daemon(self, action: Action) -> None:
        self._world.signal_daemon(signal.SIGTERM)

        def again() -> None:
            deadline = time.monotonic() + 30
            while self._world.alive and time.monotonic() < deadline:
                time.sleep(0.02)
            self._world.start()

        self._workers.start(again)

    def _kill_runner(self, action: Action) -> None:
        job_id = self._done.job_ids.get(action.job)
        if job_id and processes.send(processes.runner_of(self._world.job_folder(job_id)), signal.SIGKILL):
            self._done.runner_kills[job_id] += 1

    def _kill_runner_and_daemon(self, action: Action) -> None:
        self._kill_runner(action)
        self._kill_daemon(action)

    def _cancel_killed_runner(self, action: Action) -> None:
        self._kill_runner(action)
        self._workers.later(action.seconds / 30, self._cancel_now, action)

    def _kill_module(self, action: Action) -> None:
        pid, job_id = self._some_module()
        if processes.send(pid, signal.SIGKILL):
            self._done.module_killed.add(job_id)

    def _kill_nursery(self, action: Action) -> None:
        for pid in processes.nurseries(self._world.state):
            processes.send(pid, signal.SIGKILL)

    def _kill_recorder(self, action: Action) -> None:
        for pid in processes.recorders(self._world.state):
            processes.send(pid, signal.SIGKILL)

    def _kill_prefect(self, action: Action) -> None:
        processes.send(self._prefect(), signal.SIGKILL)

    def _stop_daemon(self, action: Action) -> None:
        if self._world.signal_daemon(signal.SIGSTOP):
            self._workers.later(action.seconds, self._world.signal_daemon, signal.SIGCONT)

    def _stop_runner(self, action: Action) -> None:
        job_id = self._done.job_ids.get(action.job)
        self._pause(processes.runner_of(self._world.job_folder(job_id)) if job_id else None, action.seconds)

    def _stop_nursery(self, action: Action) -> None:
        self._pause(next(iter(processes.nurseries(self._world.state)), None), action.seconds)

    def _stop_recorder(self, action: Action) -> None:
        self._pause(next(iter(processes.recorders(self._world.state)), None), action.seconds)

    def _stop_module(self, action: Action) -> None:
        self._pause(self._some_module()[0], action.seconds)

    def _stop_prefect(self, action: Action) -> None:
        self._pause(self._prefect(), action.seconds)

    def _cancel(self, action: Action) -> None:
        self._workers.start(self._cancel_now, action)

    def _cancel_twice(self, action: Action) -> None:
        for _ in range(2):
            self._workers.start(self._cancel_now, action)

    def _cancel_now(self, action: Action) -> None:
        job_id = self._done.job_ids.get(action.job)
        if job_id:
            self._done.cancelled.add(job_id)
            self._world.cancel(job_id)

    def _cut(self, action: Action) -> None:
        for follower in tuple(self._done.followers):
            if self._chance.random() < 0.7:
                follower.cut()

    def _break_prefect(self, action: Action) -> None:
        if self._world.proxy:
            self._world.proxy.behave(Breakage(action.how))
            self._workers.later(action.seconds, self._world.proxy.behave, Breakage.NONE)

    def _fill_disk(self, action: Action) -> None:
        if self._world.disk:
            self._world.filled.append(time.time())
            self._world.disk.fill()
            self._workers.later(action.seconds, self._free_disk)

    def _free_disk(self) -> None:
        if self._world.disk:
            self._world.filled.append(time.time())
            self._world.disk.free()

    def _reboot(self, _action: Action) -> None:
        self._workers.start(self._reboot_now, False)

    def _reboot_read_only(self, _action: Action) -> None:
        self._workers.start(self._reboot_now, True)

    def _reboot_now(self, read_only: bool) -> None:
        self._done.wrong += self._world.reboot(read_only=read_only)

    def _second_daemon(self, _action: Action) -> None:
        self._workers.start(self._start_second)

    def _start_second(self) -> None:
        self._done.wrong += self._world.start_second()

    def _some_module(self) -> tuple[int | None, str]:
        found = sorted(processes.marked(set(self._done.job_ids.values())).items())
        return self._chance.choice(found) if found else (None, "")

    def _prefect(self) -> int | None:
        found = processes.of_state(self._world.state)
        return next((pid for pid, words in found.items() if "jobd.prefect_child" in words), None)

    def _pause(self, pid: int | None, seconds: float) -> None:
        if processes.send(pid, signal.SIGSTOP) and pid is not None:
            self._stopped.add(pid)
            self._workers.later(seconds, processes.send, pid, signal.SIGCONT)
