"""What was done in a schedule."""

from collections import Counter
from dataclasses import dataclass, field

from watchers import Follower


@dataclass(slots=True)
class Done:
    """What a schedule did, as far as it allows other ends of a job."""

    job_ids: dict[int, str] = field(default_factory=dict)
    retried: dict[int, str] = field(default_factory=dict)
    followers: list[Follower] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    module_killed: set[str] = field(default_factory=set)
    runner_kills: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    begun: float = 0.0
