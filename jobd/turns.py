"""Whose turn it is: the wishes of all jobs in the order in which they are to be served."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import chain

from jobd.fair_share import FairShare, Wish

_Rank = tuple[int, bool, float, bool, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How one job is weighed against another."""

    most_active: int = 64
    """So many jobs run at once before others have to wait for room that these leave; a runner takes about 30 MB."""
    ageing: float = 600.0
    """For each of so many seconds that it waits, a wish counts as one priority higher."""


@dataclass(frozen=True, slots=True)
class _Moment:
    """What a rank depends on beside the wish."""

    policy: Policy
    now: float
    top: int
    """The highest priority of all: waiting lifts nobody above it, so that among its equals all take turns."""
    full: bool
    """Whether as many jobs run as may."""

    def rank(self, wish: Wish, share: FairShare) -> _Rank:
        """Sort first by priority, then those that run, then who has had least, then newcomers, then the older job.

        Newcomers may be level with the one that has had least: were they behind it, a job with much to do would keep
        all others from starting for as long as it takes.
        """
        aged = min(share.priority + int((self.now - wish.since) / self.policy.ageing), self.top)
        starts = wish.key is None
        return (-max(share.priority, aged), self.full and starts, share.service(self.now), not starts, share.number)


def in_order(
    active: Mapping[str, FairShare],
    jobs: Mapping[str, FairShare],
    starts: Iterable[Iterator[Wish]],
    policy: Policy,
    now: float,
) -> Iterator[Wish]:
    """Merge the wishes of the entries of `active` jobs with the wishes to start, each line of which is in order."""
    lines = [iter(share.wishes.values()) for share in active.values() if share.wishes] + list(starts)
    heads = [(wish, line) for line in lines if (wish := next(line, None)) is not None]
    moment = _Moment(
        policy,
        now,
        max((jobs[job_id].priority for job_id in chain(active, (wish.job_id for wish, _ in heads))), default=0),
        len(active) >= policy.most_active,
    )
    # The place in the list keeps wishes of one rank from being compared themselves.
    queue = [(moment.rank(wish, jobs[wish.job_id]), place, wish, line) for place, (wish, line) in enumerate(heads)]
    heapify(queue)
    while queue:
        _, place, wish, line = heappop(queue)
        yield wish
        following = next(line, None)
        if following is not None:
            heappush(queue, (moment.rank(following, jobs[following.job_id]), place, following, line))


class Floor:
    """Where a job begins that comes, or that had nothing to do for a while: what those at work have had meanwhile.

    It rises as the one that has had least does, and at least as they all do on average: so nothing is saved up for
    later, and however many come one after another, those that are there have their turns.
    """

    def __init__(self) -> None:
        """Begin at nothing."""
        self._floor = self._at = 0.0

    def raise_to(self, shares: Iterable[FairShare], now: float) -> float:
        """Tell where it stands now, by the jobs that have runners; to be asked before any of them changes."""
        busy = [share for share in shares if share.busy]
        if busy:
            average = self._floor + sum(share.rate for share in busy) * (now - self._at) / len(busy)
            self._floor = max(average, min(share.service(now) for share in busy))
        self._at = now
        return self._floor
