"""The jobs that want to start, in the order of their acceptance within each priority."""

from bisect import bisect_left, insort
from collections.abc import Iterator

from jobd.fair_share import FairShare, Wish

_SCANNED = 200
"""So many jobs of a priority are looked at for one that fits: a queue of any length costs the same."""


class StartQueue:
    """Wishes to start. Adding and removing costs next to nothing with tens of thousands in it."""

    def __init__(self) -> None:
        """Begin empty."""
        self._levels: dict[int, list[FairShare]] = {}

    def __len__(self) -> int:
        """Count them."""
        return sum(map(len, self._levels.values()))

    def add(self, share: FairShare) -> None:
        """Queue a job that has a wish to start."""
        insort(self._levels.setdefault(share.priority, []), share, key=_number)

    def remove(self, share: FairShare) -> None:
        """Take a job out; nothing is changed when it is not there."""
        level = self._levels.get(share.priority, [])
        place = bisect_left(level, share.number, key=_number)
        if place < len(level) and level[place] is share:
            del level[place]
            if not level:
                del self._levels[share.priority]

    def lines(self, *, bounded: bool) -> Iterator[Iterator[Wish]]:
        """Give the wishes of each priority, the oldest job first; bounded, only the first of each."""
        for level in self._levels.values():
            yield (share.start for share in level[: _SCANNED if bounded else None] if share.start is not None)


def _number(share: FairShare) -> int:
    return share.number
