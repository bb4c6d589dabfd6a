"""Who may run when: the capacity of the machine, leased to entries of jobs, first come first served within a priority.

A job is started when there is capacity for an entry of its first step; what was set aside for its start becomes its
first lease. Hundreds of jobs in the queue are rows, not processes.
"""

from bisect import insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

from jobd.plan import Capacity, Resources

_RETURN = "runners of an earlier daemon are awaited"


@dataclass(frozen=True, slots=True)
class Ticket:
    """A place in the queue."""

    priority: int
    number: int
    """The job's place in the order of acceptance."""
    turn: int
    job_id: str
    key: str | None
    """The entry that wants capacity; None for a job that wants to start."""
    resources: Resources

    @property
    def rank(self) -> tuple[int, int, int]:
        """Sort first what has the higher priority, then the older job, then the older wish."""
        return (-self.priority, self.number, self.turn)


@dataclass(slots=True)
class _JobShare:
    priority: int
    number: int
    held: dict[str, Resources] = field(default_factory=dict)
    start: Resources | None = None
    """What is set aside for its first entry."""


class Scheduler:
    """Leases. It does no I/O: `granted`, once set, is called with the job and the entry, or None for a start."""

    def __init__(self, capacity: Capacity) -> None:
        """Begin with everything free."""
        self.granted: Callable[[str, str | None], None]
        self._capacity = capacity
        self._jobs: dict[str, _JobShare] = {}
        self._queue: list[Ticket] = []
        self._turns = count()
        self._held_back: set[str] = set()

    @property
    def held_back(self) -> str:
        """Why nothing is granted at all; empty when that is not so."""
        return "; ".join(sorted(self._held_back))

    def hold_back(self, reason: str = _RETURN) -> None:
        """Grant nothing until `resume` is told the same reason."""
        self._held_back.add(reason)

    def resume(self, reason: str = _RETURN) -> None:
        """Grant again, unless there is another reason not to."""
        self._held_back.discard(reason)
        self._grant()

    def know(self, job_id: str, *, priority: int, number: int) -> None:
        """Make a job known, whose wishes then have this priority and age."""
        self._jobs.setdefault(job_id, _JobShare(priority, number))

    def want_start(self, job_id: str, resources: Resources) -> None:
        """Queue a known job for its start, which needs room for an entry of these resources."""
        self._enqueue(job_id, None, resources)

    def want(self, job_id: str, key: str, resources: Resources) -> None:
        """Queue an entry's wish; repeated wishes count once."""
        share = self._jobs.get(job_id)
        if share is None or key in share.held:
            return
        share.start = None  # its first wish takes the place of what was set aside
        self._enqueue(job_id, key, resources)

    def restate(self, job_id: str, held: Mapping[str, Resources]) -> None:
        """Take a runner's word, at the beginning of its line, for what it holds: all else of its job is free again.

        A grant or a release may have been lost with the line before; wishes are made again.
        """
        share = self._jobs.get(job_id)
        if share is not None:
            share.held = dict(held)
            self._queue = [ticket for ticket in self._queue if ticket.job_id != job_id]
            self._grant()

    def release(self, job_id: str, key: str) -> None:
        """Take a lease or a wish back."""
        share = self._jobs.get(job_id)
        if share is not None:
            share.held.pop(key, None)
        self._queue = [ticket for ticket in self._queue if (ticket.job_id, ticket.key) != (job_id, key)]
        self._grant()

    def forget(self, job_id: str) -> None:
        """Take everything back that a job holds or wants."""
        self._jobs.pop(job_id, None)
        self._queue = [ticket for ticket in self._queue if ticket.job_id != job_id]
        self._grant()

    def waits(self, job_id: str) -> bool:
        """Tell whether something of a job waits."""
        return any(ticket.job_id == job_id for ticket in self._queue)

    def why(self, job_id: str, key: str | None) -> str:
        """Say what an entry, or the start of a job as None, waits for; empty when it does not wait."""
        for place, ticket in enumerate(self._queue):
            if (ticket.job_id, ticket.key) == (job_id, key):
                if self._held_back:
                    return f"it waits: {self.held_back}"
                ahead = "nothing is" if place == 0 else "1 other is" if place == 1 else f"{place} others are"
                return f"it waits for {self._wish(ticket.resources)}; {ahead} before it"
        return ""

    def _wish(self, wanted: Resources) -> str:
        used, most = self.used(), self._capacity
        rows = [
            ("cpus", wanted.cpus, most.cpus - used.cpus, most.cpus),
            ("bytes of memory", wanted.memory, most.memory - used.memory, most.memory),
            ("gpus", wanted.gpus, most.gpus - used.gpus, most.gpus),
            *(
                (name, amount, most.counters.get(name, 0) - used.counters.get(name, 0), most.counters.get(name, 0))
                for name, amount in wanted.counters.items()
            ),
        ]
        return ", ".join(f"{need:g} {name} ({free:g} of {of:g} free)" for name, need, free, of in rows if need and of)

    def used(self) -> Resources:
        """Add up what is leased and set aside."""
        given = [resources for share in self._jobs.values() for resources in self._given(share)]
        names = {name for resources in given for name in resources.counters}
        return Resources(
            cpus=sum(resources.cpus for resources in given),
            memory=sum(resources.memory for resources in given),
            gpus=sum(resources.gpus for resources in given),
            counters={name: sum(resources.counters.get(name, 0) for resources in given) for name in names},
        )

    @staticmethod
    def _given(share: _JobShare) -> list[Resources]:
        return [*share.held.values(), *([share.start] if share.start else [])]

    def _enqueue(self, job_id: str, key: str | None, resources: Resources) -> None:
        share = self._jobs[job_id]
        if any((ticket.job_id, ticket.key) == (job_id, key) for ticket in self._queue):
            return
        ticket = Ticket(share.priority, share.number, next(self._turns), job_id, key, resources)
        insort(self._queue, ticket, key=lambda ticket: ticket.rank)
        self._grant()

    def _grant(self) -> None:
        # Strictly in order: a large wish at the head is not overtaken for ever by small ones behind it.
        while self._queue and not self._held_back and self._fits(self._queue[0].resources):
            ticket = self._queue.pop(0)
            share = self._jobs[ticket.job_id]
            if ticket.key is None:
                share.start = ticket.resources
            else:
                share.held[ticket.key] = ticket.resources
            self.granted(ticket.job_id, ticket.key)

    def _fits(self, wanted: Resources) -> bool:
        used, most = self.used(), self._capacity
        return (
            used.cpus + wanted.cpus <= most.cpus + 1e-9
            and (most.memory == 0 or used.memory + wanted.memory <= most.memory)
            and used.gpus + wanted.gpus <= most.gpus
            and all(
                used.counters.get(name, 0) + amount <= most.counters.get(name, 0)
                for name, amount in wanted.counters.items()
            )
        )
