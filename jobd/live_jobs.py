"""The jobs that have not ended, in memory: asking for one, or for how many there are, costs no read and no search."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from jobd.jobs import Job
from jobd.states import JobState


@dataclass(frozen=True, slots=True)
class Live:
    """A job and its number in the order of acceptance."""

    number: int
    job: Job


class LiveJobs:
    """Changed by one thread, asked by any."""

    def __init__(self, found: Iterable[Live]) -> None:
        """Begin with these."""
        self._by_id: dict[str, Live] = {}
        self._count: Counter[JobState] = Counter()
        for live in found:
            self.put(live)

    def put(self, live: Live) -> None:
        """Know a job as it is now; one that has ended is let go."""
        before = self._by_id.get(live.job.id)
        if live.job.terminal:
            self._by_id.pop(live.job.id, None)
        else:
            self._by_id[live.job.id] = live
            self._count[live.job.state] += 1
        if before is not None:
            self._count[before.job.state] -= 1

    def get(self, job_id: str) -> Live | None:
        """Give a job; None when it has ended, or there is none."""
        return self._by_id.get(job_id)

    def all(self) -> list[Live]:
        """Give every job, oldest first."""
        return sorted(self._by_id.copy().values(), key=lambda live: live.number)

    def __len__(self) -> int:
        """Count them all."""
        return len(self._by_id)

    def count(self, state: JobState) -> int:
        """Count the jobs in a state."""
        return self._count[state]
