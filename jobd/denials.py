"""How many denied calls are written down: all of a careless caller, and of a flood too few to hide others."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

_SOURCES = 1024
"""So many sources are told apart; of more, those that were not heard of for longest begin anew."""


@dataclass(slots=True)
class _Bucket:
    left: float
    since: float

    def take(self, now: float, *, burst: float, rate: float) -> bool:
        self.left = min(burst, self.left + (now - self.since) * rate)
        self.since = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class DenialGate:
    """Lets through some denials of each source, and counts the others."""

    def __init__(
        self,
        *,
        burst: int = 20,
        rate: float = 0.2,
        burst_in_all: int = 500,
        rate_in_all: float = 5.0,
        now: Callable[[], float] = monotonic,
    ) -> None:
        """Let through `burst` of one source at once and `rate` a second from then on; the same of all together."""
        self._burst, self._rate = float(burst), rate
        self._burst_in_all, self._rate_in_all = float(burst_in_all), rate_in_all
        self._now = now
        self._all = _Bucket(self._burst_in_all, now())
        self._sources: OrderedDict[str, _Bucket] = OrderedDict()
        self._left_out = 0

    def enter(self, peer: str) -> int | None:
        """Say whether a denial of this peer is written down: how many were not since the last one that was; or None."""
        now, source = self._now(), _source(peer)
        bucket = self._sources.pop(source, None) or _Bucket(self._burst, now)
        self._sources[source] = bucket
        if len(self._sources) > _SOURCES:
            self._sources.popitem(last=False)
        if bucket.take(now, burst=self._burst, rate=self._rate) and self._all.take(
            now, burst=self._burst_in_all, rate=self._rate_in_all
        ):
            left_out, self._left_out = self._left_out, 0
            return left_out
        self._left_out += 1
        return None


def _source(peer: str) -> str:
    """Give the host of a TCP peer, without the port, which is another one with every connection."""
    return peer.rpartition(":")[0] if peer.startswith(("ipv4:", "ipv6:")) else peer
