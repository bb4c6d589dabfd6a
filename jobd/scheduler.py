"""Who may run when: the capacity of the machine, leased to entries of jobs.

Priority comes first. Jobs of one priority take turns, by what they have had. Waiting raises a job towards those of the
highest priority, so that none starves. What does not fit keeps what it lacks from all who come after it, and from
nobody what it does not lack: a wish for a gpu stops no work that needs none, and a large wish is not put off for ever.
Only the first of all, once it has waited for long, also keeps the gpus and counters that it does not lack just now.

A job is started when there is room for an entry of it; what was set aside for its start becomes its first lease.
Beyond a number of jobs that run, others start only where those leave room: hundreds of jobs in the queue are rows, not
processes.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from jobd.fair_share import FairShare, Lease, Wish
from jobd.gpus import Gpus
from jobd.plan import Capacity, Resources
from jobd.room import Amounts, Room, amounts
from jobd.start_queue import StartQueue
from jobd.turns import Floor, Policy, in_order

_RETURN = "runners of an earlier daemon are awaited"
Clock = Callable[[], float]

_LONG_SECONDS = 60.0
"""A wish that comes first and has waited longer keeps all that it needs of gpus and counters: of two things it might
lack now the one and now the other for ever."""
_COMMON = {"cpus", "memory"}
"""What it keeps only while it lacks it: much could be done meanwhile with what it does not lack."""
_CATCH_UP = 10.0
"""What a job may catch up on that others had while it waited for its start, in seconds of the whole machine."""


class Scheduler:
    """Leases. It does no I/O: `granted`, once set, is called with the job, the entry and its lease.

    For the start of a job the entry is None.
    """

    def __init__(
        self,
        capacity: Capacity,
        *,
        policy: Policy | None = None,
        gpu_ids: Sequence[str] = (),
        clock: Clock = time.monotonic,
    ) -> None:
        """Begin with everything free; `gpu_ids` names each gpu of the capacity."""
        self.granted: Callable[[str, str | None, Lease], None]
        self._policy = policy or Policy()
        self._clock = clock
        self._room = Room.of(capacity)
        self._gpus = Gpus(gpu_ids)
        self._jobs: dict[str, FairShare] = {}
        self._active: dict[str, FairShare] = {}
        self._starts = StartQueue()
        self._floor = Floor()
        self._held_back: set[str] = set()

    @property
    def held_back(self) -> str:
        """Why nothing is granted at all; empty when that is not so."""
        return "; ".join(sorted(self._held_back))

    @property
    def waiting(self) -> int:
        """Count the wishes that wait, those of entries and those of jobs that want to start."""
        return len(self._starts) + sum(len(share.wishes) for share in self._active.values())

    def used(self) -> Resources:
        """Add up what is leased and set aside."""
        return self._room.held()

    def hold_back(self, reason: str = _RETURN) -> None:
        """Grant nothing until `resume` is told the same reason."""
        self._held_back.add(reason)

    def resume(self, reason: str = _RETURN) -> None:
        """Grant again, unless there is another reason not to."""
        self._held_back.discard(reason)
        self._grant()

    def know(self, job_id: str, *, priority: int, number: int, waited: float = 0.0) -> None:
        """Make a job known, with its place in the order of acceptance and the seconds since that."""
        since = self._clock() - waited
        self._jobs.setdefault(job_id, FairShare(job_id=job_id, priority=priority, number=number, since=since))

    def want_start(self, job_id: str, resources: Resources) -> None:
        """Queue a known job for its start, which needs room for an entry of these resources."""
        share = self._jobs[job_id]
        if share.start is None and share.set_aside is None:
            share.level(self._raise_floor(), self._clock())
            share.start = Wish(job_id, None, resources, amounts(resources), share.since)
            self._starts.add(share)
            self._grant_if_room(share.start)

    def want(self, job_id: str, key: str, resources: Resources) -> None:
        """Queue an entry's wish; repeated wishes count once."""
        share = self._jobs.get(job_id)
        if share is None or key in share.held or key in share.wishes:
            return
        self._activate(share)
        if not share.busy:
            share.level(self._raise_floor(), self._clock())
        share.wishes[key] = wish = Wish(job_id, key, resources, amounts(resources), self._clock())
        if share.set_aside is not None:
            # Its first wish takes the place of what was set aside, and needs no turn if that is enough for it.
            aside, share.set_aside = share.set_aside, None
            self._room.give(aside.amounts)
            if not self._held_back and not self._room.short(wish.amounts) and _covers(aside, wish):
                self._lease(share, wish)
            self._grant()
        else:
            self._grant_if_room(wish)

    def restate(self, job_id: str, held: Mapping[str, Lease]) -> None:
        """Take a runner's word, at the beginning of its line, for what it holds: all else of its job is free again.

        A grant or a release may have been lost with the line before; wishes are made again.
        """
        share = self._jobs.get(job_id)
        if share is None:
            return
        self._withdraw(share)
        if held:
            self._drop_aside(share)  # a runner that has only begun has not used it yet
        self._activate(share)
        taken = [amounts(lease.resources) for lease in held.values()]
        for each in taken:
            self._room.take(each)
        share.charge(sum(map(self._room.share, taken)), self._clock())
        share.held = dict(held)
        lent = {gpu for each in self._active.values() for lease in each.held.values() for gpu in lease.gpus or ()}
        self._gpus.know_lent(lent)
        self._grant()

    def release(self, job_id: str, key: str) -> None:
        """Take a lease or a wish back."""
        share = self._jobs.get(job_id)
        self._raise_floor()
        if share is not None:
            share.wishes.pop(key, None)
            lease = share.held.pop(key, None)
            if lease is not None:
                self._give_back(share, amounts(lease.resources), lease.gpus)
        self._grant()

    def forget(self, job_id: str) -> None:
        """Take everything back that a job holds or wants."""
        share = self._jobs.pop(job_id, None)
        self._raise_floor()
        if share is not None:
            self._withdraw(share)
            self._drop_aside(share)
            self._active.pop(job_id, None)
        self._grant()

    def waits(self, job_id: str) -> bool:
        """Tell whether something of a job waits."""
        share = self._jobs.get(job_id)
        return share is not None and (share.start is not None or bool(share.wishes))

    def why(self, job_id: str, key: str | None) -> str:
        """Say what an entry, or the start of a job as None, waits for; empty when it does not wait."""
        share = self._jobs.get(job_id)
        wish = None if share is None else share.start if key is None else share.wishes.get(key)
        if wish is None:
            return ""
        if self._held_back:
            return f"it waits: {self.held_back}"
        if not self._room.can_ever(wish.amounts):
            return f"it waits for more than there is: {self._room.describe(wish.amounts)}; see `jobd serve --capacity`"
        place = next(place for place, other in enumerate(self._in_order(bounded=False)) if other is wish)
        ahead = "nothing is" if place == 0 else "1 other is" if place == 1 else f"{place} others are"
        return f"it waits for {self._room.describe(wish.amounts)}; {ahead} before it"

    # -- granting ----------------------------------------------------------------------------------------------

    def _grant_if_room(self, wish: Wish) -> None:
        # A new wish changes nothing for the others: while it does not fit, nobody need be asked.
        if not self._room.short(wish.amounts):
            self._grant()

    def _grant(self) -> None:
        while not self._held_back and (wish := self._next()) is not None:
            share = self._jobs[wish.job_id]
            if wish.key is None:
                self._start(share, wish)
            else:
                self._lease(share, wish)

    def _next(self) -> Wish | None:
        """Give the first wish that fits, beside what those before it lack."""
        room, long_ago = self._room.copy(), self._clock() - _LONG_SECONDS
        blocked: set[frozenset[tuple[str, int]]] = set()
        first = True
        for wish in self._in_order():
            shape = frozenset(wish.amounts.items())
            if shape in blocked:
                continue
            short = room.short(wish.amounts)
            if not short:
                return wish
            blocked.add(shape)
            if room.can_ever(wish.amounts):
                kept = set(short)
                if first and wish.since < long_ago:
                    kept |= wish.amounts.keys() - _COMMON
                room.take({name: wish.amounts[name] for name in kept})
                first = False
        return None

    def _in_order(self, *, bounded: bool = True) -> Iterator[Wish]:
        lines = self._starts.lines(bounded=bounded)
        return in_order(self._active, self._jobs, lines, self._policy, self._clock())

    def _start(self, share: FairShare, wish: Wish) -> None:
        self._starts.remove(share)
        share.start, share.set_aside = None, wish
        self._activate(share)
        # Not charged: what a start takes is nothing that the job has had, and would outweigh many small entries.
        self._room.take(wish.amounts)
        self.granted(share.job_id, None, Lease(wish.resources))

    def _lease(self, share: FairShare, wish: Wish) -> None:
        key = str(wish.key)
        del share.wishes[key]
        share.held[key] = lease = Lease(wish.resources, self._gpus.lend(wish.resources.gpus))
        self._room.take(wish.amounts)
        share.begin(self._room.share(wish.amounts), self._clock())
        self.granted(share.job_id, key, lease)

    def _give_back(self, share: FairShare, given: Amounts, gpus: Sequence[str] | None = None) -> None:
        self._room.give(given)
        share.charge(-self._room.share(given), self._clock())
        self._gpus.take_back(gpus or ())

    def _activate(self, share: FairShare) -> None:
        if not share.active:
            share.level(self._raise_floor() - _CATCH_UP, self._clock())
            share.active = True
            self._active[share.job_id] = share

    def _raise_floor(self) -> float:
        return self._floor.raise_to(self._active.values(), self._clock())

    def _withdraw(self, share: FairShare) -> None:
        """Take back all that a job holds and wants, but for what is set aside."""
        if share.start is not None:
            self._starts.remove(share)
            share.start = None
        for lease in share.held.values():
            self._give_back(share, amounts(lease.resources), lease.gpus)
        share.held, share.wishes = {}, {}

    def _drop_aside(self, share: FairShare) -> None:
        if share.set_aside is not None:
            self._room.give(share.set_aside.amounts)
            share.set_aside = None


def _covers(aside: Wish, wish: Wish) -> bool:
    return all(aside.amounts.get(name, 0) >= amount for name, amount in wish.amounts.items())
