"""The jobs that want to start, in the order of their acceptance within each priority."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import islice

from jobd.fair_share import FairShare, Wish

_SHAPES = 200
"""So many different demands of a priority are looked at for one that fits: a queue of any length costs the same."""

_Shape = frozenset[tuple[str, int]]


class StartQueue:
    """Wishes to start. Adding and removing costs next to nothing with tens of thousands in it."""

    def __init__(self) -> None:
        """Begin empty."""
        self._levels: dict[int, dict[_Shape, list[FairShare]]] = {}

    def __len__(self) -> int:
        """Count them."""
        return sum(len(shares) for level in self._levels.values() for shares in level.values())

    def add(self, share: FairShare) -> None:
        """Queue a job that has a wish to start."""
        insort(self._levels.setdefault(share.priority, {}).setdefault(_shape(share), []), share, key=_number)

    def remove(self, share: FairShare) -> None:
        """Take a job out, whose wish is as it was; nothing is changed when it is not there."""
        level, shape = self._levels.get(share.priority, {}), _shape(share)
        shares = level.get(shape, [])
        place = bisect_left(shares, share.number, key=_number)
        if place < len(shares) and shares[place] is share:
            del shares[place]
            if not shares:
                del level[shape]

    def lines(self, *, bounded: bool) -> Iterator[Iterator[Wish]]:
        """Give the wishes of each priority and demand, the oldest job first.

        Bounded, it is the first of each: when that does not fit, none behind it does.
        """
        for level in self._levels.values():
            for shares in islice(level.values(), _SHAPES if bounded else None):
                yield (share.start for share in shares[: 1 if bounded else None] if share.start is not None)


def _shape(share: FairShare) -> _Shape:
    return frozenset(share.start.amounts.items()) if share.start is not None else frozenset()


def _number(share: FairShare) -> int:
    return share.number
