"""What is counted for Prometheus as it happens, each number defined once.

Labels are words of ours (states, codes, methods), never a job's or a client's, so that the series stay few.
"""

import platform
from collections.abc import Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from jobd import __version__, events
from jobd.events import FailureKind, Record
from jobd.jobs import Job
from jobd.states import TERMINAL_ENTRY_STATES, TERMINAL_JOB_STATES

_CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_COMMIT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600)
_LONG_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
_BATCH_BUCKETS = (1, 2, 5, 10, 20, 50, 100)


class Metrics:
    """What is counted as it happens. Every method may be called in any thread, and none of them fails."""

    def __init__(self) -> None:
        """Begin with nothing counted, in a registry of its own."""
        # They would be one more series for each counter, which nobody looks at.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry(auto_describe=False)
        self._wishes: dict[str, dict[tuple[str, str], float]] = {}
        """Since when entries wait for their first attempt, by job."""
        ProcessCollector(registry=self.registry)
        self._define_calls()
        self._define_work()
        build = Gauge("jobd_build_info", "Always 1.", ("version", "python"), registry=self.registry)
        build.labels(__version__, platform.python_version()).set(1)

    def _define_calls(self) -> None:
        method = ("service", "method")
        self.rpcs = Counter("jobd_rpcs", "Calls that have ended.", (*method, "code"), registry=self.registry)
        self.rpc_seconds = Histogram(
            "jobd_rpc_duration_seconds",
            "From the beginning of a call to its end; streams last as long as they are read.",
            method,
            buckets=_CALL_BUCKETS,
            registry=self.registry,
        )
        self.rpcs_in_flight = Gauge("jobd_rpcs_in_flight", "Calls that go on.", method, registry=self.registry)
        self.transfer_bytes = Counter(
            "jobd_transfer_bytes", "Bytes of files in and out.", ("direction",), registry=self.registry
        )
        self.send_lag = Histogram(
            "jobd_event_send_lag_seconds",
            "From an event to the moment at which it is handed to gRPC for a watcher that was there already.",
            buckets=_LAG_BUCKETS,
            registry=self.registry,
        )

    def _define_work(self) -> None:
        make = self._make_histogram
        self.commit_seconds = make("jobd_store_commit_duration_seconds", "Commits of the store.", _COMMIT_BUCKETS)
        self.commit_changes = make("jobd_store_commit_changes", "Changes that share a commit.", _BATCH_BUCKETS)
        self.commit_lag = make(
            "jobd_event_commit_lag_seconds", "From an event to its commit in the store.", _LAG_BUCKETS
        )
        self.job_queue = make("jobd_job_queue_seconds", "From a job's submission to its start.", _LONG_BUCKETS)
        self.job_seconds = make("jobd_job_duration_seconds", "From a job's start to its end.", _LONG_BUCKETS)
        self.entry_wait = make("jobd_entry_wait_seconds", "From an entry's wish to its first attempt.", _LONG_BUCKETS)
        self.entry_seconds = make(
            "jobd_entry_duration_seconds", "From an entry's first attempt to its end.", _LONG_BUCKETS
        )
        self.submitted = Counter("jobd_jobs_submitted", "Jobs that were accepted.", registry=self.registry)
        self.jobs_ended = Counter("jobd_jobs_ended", "Jobs that have ended.", ("state",), registry=self.registry)
        self.entries_ended = Counter(
            "jobd_entries_ended", "Entries that have ended.", ("state",), registry=self.registry
        )
        self.failures = Counter(
            "jobd_attempt_failures", "Attempts that failed, by why.", ("kind",), registry=self.registry
        )
        self.runner_deaths = Counter("jobd_runner_deaths", "Runners that died over a job.", registry=self.registry)
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Tell what has not happened yet as 0: nothing can be said of a series that is not there."""
        for counter, words in (
            (self.jobs_ended, TERMINAL_JOB_STATES),
            (self.entries_ended, (*TERMINAL_ENTRY_STATES, "reused")),
            (self.failures, FailureKind),
            (self.transfer_bytes, ("in", "out")),
        ):
            for word in words:
                counter.labels(str(word))

    def _make_histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, text, buckets=buckets, registry=self.registry)

    def measure_commit(self, seconds: float, changes: int) -> None:
        """Count a commit of the store that had this many changes in it."""
        self.commit_seconds.observe(seconds)
        self.commit_changes.observe(changes)

    def tell(self, job: Job, records: Sequence[Record], now: float) -> None:
        """Count what was committed at `now`, in seconds since the epoch; `job` is as these events have left it."""
        for record in records:
            self.commit_lag.observe(max(0.0, now - record.time))
            self._count(job, record)

    def _count(self, job: Job, record: Record) -> None:
        event = record.event
        match event:
            case events.JobSubmitted():
                self.submitted.inc()
            case events.JobStarted():
                if job.recoveries == 0:
                    self.job_queue.observe(max(0.0, record.time - job.submitted))
            case events.JobRecovering():
                self.runner_deaths.inc()
            case events.JobSucceeded() | events.JobFailed() | events.JobCancelled():
                self.jobs_ended.labels(event.kind.removeprefix("job_")).inc()
                _observe_since(self.job_seconds, job.started, record.time)
                self._wishes.pop(job.id, None)
            case _:
                self._count_of_entry(job, record)

    def _count_of_entry(self, job: Job, record: Record) -> None:
        event = record.event
        match event:
            case events.EntryWaiting():
                self._wishes.setdefault(job.id, {}).setdefault((event.step, event.entry), record.time)
            case events.EntryStarted():
                if event.attempt == 1:
                    begun = self._wishes.get(job.id, {}).pop((event.step, event.entry), None)
                    _observe_since(self.entry_wait, begun, record.time)
            case events.EntryRetrying() | events.EntryFailed():
                self.failures.labels(event.failure.kind.value).inc()
        if isinstance(event, _ENTRY_ENDS):
            self.entries_ended.labels(event.kind.removeprefix("entry_")).inc()
            _observe_since(self.entry_seconds, job.entry(event.step, event.entry).started, record.time)


_ENTRY_ENDS = (
    events.EntrySucceeded | events.EntryFailed | events.EntryCancelled | events.EntrySkipped | events.EntryReused
)


def _observe_since(histogram: Histogram, begun: float | None, time: float) -> None:
    if begun is not None:
        histogram.observe(max(0.0, time - begun))
