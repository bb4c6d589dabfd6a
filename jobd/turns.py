"""Whose turn it is: the wishes of all jobs in the order in which they are to be served."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import chain

from jobd.fair_share import FairShare, Wish

_Rank = tuple[int, bool, float, int]


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
    least: float
    """What the job that has had least has had: a newcomer begins there."""
    full: bool
    """Whether as many jobs run as may."""

    def rank(self, wish: Wish, share: FairShare) -> _Rank:
        """Sort first by priority, then those that run, then who has had least, then the older job."""
        aged = min(share.priority + int((self.now - wish.since) / self.policy.ageing), self.top)
        service = share.service(self.now) if share.active else self.least
        return (-max(share.priority, aged), self.full and wish.key is None, service, share.number)


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
        least_service(active.values(), now),
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


def least_service(shares: Iterable[FairShare], now: float) -> float:
    """Tell what the job has had that has had least; 0 when there is none."""
    return min((share.service(now) for share in shares), default=0.0)
