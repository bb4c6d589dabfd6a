"""Looking at the daemon's parts for a sample, at a cost that does not grow with the history."""

import asyncio
import concurrent.futures
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from time import monotonic

from jobd.jobs import Job
from jobd.metrics_sample import Sample
from jobd.nursery_client import NurseryClient
from jobd.plan import Capacity, Resources
from jobd.prefect_status import Prefect
from jobd.reserve import Reserve
from jobd.scheduler import Scheduler
from jobd.states import LIVE_JOB_STATES, EntryState
from jobd.store import Store

MOST_UNRECORDED = 10_000
"""A larger backlog of the recorder is told as this: nobody acts differently on it, and counting costs."""
_LOOP_SECONDS = 5.0


class Sampler:
    """Takes samples, in any thread but the event loop's."""

    def __init__(
        self,
        *,
        store: Store,
        scheduler: Scheduler,
        capacity: Capacity,
        prefect: Prefect,
        reserve: Reserve,
        nursery: NurseryClient,
        watches: Callable[[], int],
    ) -> None:
        """Look at these; must be made on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._store = store
        self._scheduler = scheduler
        self._capacity = _amounts(capacity)
        self._prefect = prefect
        self._reserve = reserve
        self._nursery = nursery
        self._watches = watches
        self._lock = threading.Lock()
        self._tallies: dict[str, tuple[Job, Counter[str]]] = {}

    def take(self) -> Sample | None:
        """Look at everything; None when the event loop does not answer within five seconds."""
        asked = monotonic()
        looked = self._on_loop(asked)
        if looked is None:
            return None
        used, waiting, watches, lag = looked
        free, kept = self._reserve.bytes_free_and_kept()
        jobs, entries = self._tally()
        return Sample(
            jobs=jobs,
            entries=entries,
            used={name: used.get(name, 0.0) for name in self._capacity},
            capacity=self._capacity,
            watches=watches,
            waiting=waiting,
            prefect_ready=self._prefect.status.ready,
            unrecorded=len(self._store.unrecorded(MOST_UNRECORDED)),
            disk_free=free,
            disk_reserve=kept,
            store_writable=not self._store.trouble,
            nursery_restarts=self._nursery.restarts,
            loop_lag=lag,
        )

    def _on_loop(self, asked: float) -> tuple[Mapping[str, float], int, int, float] | None:
        """Read what belongs to the event loop there, because it may change at any moment elsewhere."""
        answer: concurrent.futures.Future[tuple[Mapping[str, float], int, int, float]] = concurrent.futures.Future()

        def look() -> None:
            lag = monotonic() - asked
            answer.set_result((_amounts(self._scheduler.used()), self._scheduler.waiting, self._watches(), lag))

        try:
            self._loop.call_soon_threadsafe(look)
            return answer.result(_LOOP_SECONDS)
        except (RuntimeError, TimeoutError):  # it has ended, or it hangs
            return None

    def _tally(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Count jobs and entries by state; a job that has not changed since the last time is not counted again."""
        jobs = dict.fromkeys(map(str, sorted(LIVE_JOB_STATES)), 0)
        entries = Counter(dict.fromkeys(map(str, EntryState), 0))
        with self._lock:
            tallies = {}
            for job in self._store.live():
                known = self._tallies.get(job.id)
                tally = known[1] if known and known[0] is job else Counter(entry.state.value for entry in job.entries)
                tallies[job.id] = (job, tally)
                jobs[job.state.value] += 1
                entries.update(tally)
            self._tallies = tallies
        return jobs, entries


def _amounts(resources: Capacity | Resources) -> dict[str, float]:
    return {
        "cpus": resources.cpus,
        "memory_bytes": resources.memory,
        "gpus": resources.gpus,
        **resources.counters,
    }
