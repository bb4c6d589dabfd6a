"""What one job wants, holds and has had of the machine: the account by which jobs of one priority take turns.

The account is the job's dominant share (of cpus, memory, gpus and counters the one it takes the largest part of) times
seconds, as in dominant resource fairness (Ghodsi et al., NSDI 2011), kept like the virtual runtime of Linux's
scheduler: who has had least is next, and a newcomer begins level with the one that has had least.
"""

from dataclasses import dataclass, field

from jobd.plan import Resources
from jobd.room import Amounts

_ENTRY_SECONDS = 0.25
"""What an entry counts for beside its time: grants of one instant go around, and jobs of short entries take turns by
their entries, whose times say little of what they cost and much of what else the machine did."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What an entry holds."""

    resources: Resources
    gpus: tuple[str, ...] | None = None
    """The gpus that are its own, by id; None where the daemon hands out none."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A place in the queue."""

    job_id: str
    key: str | None
    """The entry that wants capacity; None for a job that wants to start."""
    resources: Resources
    amounts: Amounts
    since: float
    """When it was made, on the scheduler's clock; that of a start may be before the daemon's."""


@dataclass(slots=True)
class FairShare:
    """One job."""

    job_id: str
    priority: int
    number: int
    """Its place in the order of acceptance."""
    since: float
    """When it was accepted, on the scheduler's clock."""
    held: dict[str, Lease] = field(default_factory=dict)
    wishes: dict[str, Wish] = field(default_factory=dict)
    """Of its entries, the oldest first."""
    start: Wish | None = None
    """Its wish to start, while that waits."""
    set_aside: Wish | None = None
    """What was granted to its start, for its first entry."""
    active: bool = False
    """Whether it has, or is being given, a runner."""
    _service: float = 0.0
    _rate: float = 0.0
    _at: float = 0.0

    @property
    def busy(self) -> bool:
        """Tell whether it holds or wants anything for its entries: who does not takes no part in the turns."""
        return bool(self.held or self.wishes or self.set_aside)

    @property
    def rate(self) -> float:
        """Tell what part of the machine it holds."""
        return self._rate

    def service(self, now: float) -> float:
        """Tell how much it has had by now."""
        return self._service + self._rate * (now - self._at)

    def level(self, service: float, now: float) -> None:
        """Begin not lower than this: time in which it wanted nothing is not saved up."""
        self._settle(now)
        self._service = max(self._service, service)

    def begin(self, share: float, now: float) -> None:
        """Count an entry that takes this part of the machine from now on."""
        self.charge(share, now)
        self._service += share * _ENTRY_SECONDS

    def charge(self, share: float, now: float) -> None:
        """Count this part of the machine from now on; a negative one no more."""
        self._settle(now)
        self._rate = max(0.0, self._rate + share)

    def _settle(self, now: float) -> None:
        self._service += self._rate * (now - self._at)
        self._at = now
