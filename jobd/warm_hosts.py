"""The warm interpreters of a job, from which the processes of its entries are forked instead of started.

To hold one costs what a start costs, so a module gets one only when several entries of the job run it. Nothing waits
for one: until it is ready, and whenever it cannot serve, entries are started as if there were none.
"""

import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

from jobd.plan import Plan, PlanEntry
from jobd.warm_process import ROOM, SLOT, Parked, State, WarmHost, is_own

_logger = logging.getLogger("jobd.runner")

MOST_HOSTS = 8
"""A job with more modules than that lets the one go that has waited longest."""
WORTH = 4
"""A module gets one when the job has so many entries of it; with libraries to hold, two are enough."""
IDLE_SECONDS = 30.0
"""One of which nothing is asked for so long ends by itself."""
MOST_DEATHS = 3
"""After so many crashes of a module's hosts its entries are started cold for the rest of the job."""

_UNSUITED = frozenset({"PYTHONINSPECT", "PYTHONPROFILEIMPORTTIME", "PYTHONTRACEMALLOC", "PYTHONVERBOSE"})
"""What makes an interpreter tell about its own start or wait at its end, which a fork cannot do again."""


class _Slot:
    """The place of one kind of host: the one that lives, and what has become of those before it."""

    def __init__(self) -> None:
        self.host: WarmHost | None = None
        self.deaths = 0
        self.cold = False


class WarmHosts:
    """The hosts of one job; from any thread."""

    def __init__(self, plan: Plan, *, idle_seconds: float = IDLE_SECONDS) -> None:
        """Start none yet."""
        self._idle_seconds = idle_seconds
        self._counts = Counter((entry.folder, entry.entrypoint) for step in plan.steps for entry in step.entries)
        self._slots: OrderedDict[tuple[str, ...], _Slot] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    def fork(
        self, entry: PlanEntry, argv: Sequence[str], env: Mapping[str, str], log_fd: int, group: Path | None = None
    ) -> Parked | None:
        """Fork a process for an entry; None when it is to be started cold. `argv` is the interpreter, the script, ….

        It is born in the cgroup of the folder `group`, if it can be.
        """
        if not self._is_worth(entry) or _UNSUITED & env.keys():
            return None
        command = (argv[0], argv[1], *(entry.preload or ()))
        shared = {name: value for name, value in env.items() if not is_own(name)}
        with self._lock:
            host = self._host(command, shared)
        return self._ask(host, entry, log_fd, group) if host is not None else None

    def pids(self) -> list[int]:
        """Give the processes of those that live, or have died and nobody has asked them for anything since."""
        with self._lock:
            return [slot.host.pid for slot in self._slots.values() if slot.host is not None]

    def close(self) -> None:
        """Have all of them end; from now on everything is started cold."""
        with self._lock:
            self._closed = True
            slots, self._slots = self._slots, OrderedDict()
        for slot in slots.values():
            if slot.host is not None:
                slot.host.close()

    def _is_worth(self, entry: PlanEntry) -> bool:
        if entry.preload is None:
            return False
        return self._counts[entry.folder, entry.entrypoint] >= (2 if entry.preload else WORTH)

    def _ask(self, host: WarmHost, entry: PlanEntry, log_fd: int, group: Path | None) -> Parked | None:
        before = host.reason
        parked = host.fork(log_fd, group)
        if parked is None and host.reason != before:
            _logger.warning("warm_start_not_had module=%s reason=%s", entry.module, host.reason)
        return parked

    def _host(self, command: tuple[str, ...], shared: dict[str, str]) -> WarmHost | None:
        key = (*command, *(f"{name}={value}" for name, value in shared.items()))
        slot = self._slots.setdefault(key, _Slot())
        self._slots.move_to_end(key)
        if self._closed or slot.cold:
            return None
        if slot.host is not None:
            match slot.host.look():
                case State.READY:
                    return slot.host
                case State.STARTING:
                    return None
                case _:
                    self._bury(slot, slot.host, command)
        if not slot.cold:
            self._start(slot, command, shared)
        return None

    def _bury(self, slot: _Slot, host: WarmHost, command: tuple[str, ...]) -> None:
        slot.host = None
        slot.deaths += host.crashed()
        slot.cold = host.state is State.REFUSED or slot.deaths >= MOST_DEATHS
        if slot.cold:
            reason = host.reason or f"its warm interpreter crashed {slot.deaths} times"
            _logger.warning("warm_refused script=%s reason=%s", command[1], reason)

    def _start(self, slot: _Slot, command: tuple[str, ...], shared: dict[str, str]) -> None:
        while len(self._slots) > MOST_HOSTS:
            _key, oldest = self._slots.popitem(last=False)
            if oldest.host is not None:
                oldest.host.close()
        try:
            # The variable that only holds room comes last: a fork overwrites it with what is its own.
            slot.host = WarmHost(command, shared | {SLOT: "-" * ROOM}, self._idle_seconds)
        except OSError as error:
            slot.cold = True
            _logger.warning("warm_refused script=%s reason=%s", command[1], error)
