"""What is counted of a job's history, and that the documentation tells of every metric."""

import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from jobd import events
from jobd.events import Failure, FailureKind, Record
from jobd.history import apply
from jobd.jobs import Job
from jobd.metrics import Metrics
from jobd.metrics_sample import Sample, SampleCollector

DOCUMENT = Path(__file__).parents[2] / "docs/operations.md"
FAILURE = Failure(kind=FailureKind.TIMEOUT, message="it took longer than 5 s")
LEFT = {"step": "cut", "entry": "left"}
RIGHT = {"step": "cut", "entry": "right"}


@pytest.fixture
def metrics() -> Metrics:
    """Give metrics that have counted nothing."""
    return Metrics()


def tell(metrics: Metrics, job: Job, *happened: events.JobEvent) -> Job:
    """Let things happen a second apart, each committed 0.5 s later in a commit of its own."""
    for event in happened:
        record = Record(sequence=job.sequence + 1, time=1001.0 + job.sequence, event=event)
        job = apply(job, record)
        metrics.tell(job, (record,), record.time + 0.5)
    return job


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Give the value of one series."""
    return metrics.registry.get_sample_value(name, labels)


def test_a_history_is_counted(metrics: Metrics, job: Job):
    """Every time is taken from the events, every end counted once by its state, every failed attempt by its kind."""
    tell(
        metrics,
        job,
        events.JobSubmitted(),
        events.JobWaiting(reason="it waits for capacity"),
        events.JobStarted(flow_run_id="run-1"),
        events.EntryWaiting(**LEFT),
        events.EntryWaiting(**RIGHT),
        events.EntryStarted(**LEFT, attempt=1, pid=1),
        events.EntryStarted(**RIGHT, attempt=1, pid=2),
        events.EntryRetrying(**LEFT, attempt=1, failure=FAILURE, delay_seconds=0),
        events.EntryWaiting(**LEFT),
        events.EntryStarted(**LEFT, attempt=2, pid=3),
        events.EntrySucceeded(**RIGHT, attempt=1),
        events.EntryFailed(**LEFT, attempt=2, failure=FAILURE),
        events.EntrySkipped(step="join", entry="all", reason="an entry failed"),
        events.JobFailed(failure=FAILURE),
    )
    assert value(metrics, "jobd_jobs_submitted_total") == 1
    assert value(metrics, "jobd_jobs_ended_total", state="failed") == 1
    assert value(metrics, "jobd_job_queue_seconds_sum") == 2.0
    assert value(metrics, "jobd_job_duration_seconds_sum") == 11.0
    assert value(metrics, "jobd_entry_wait_seconds_count") == 2
    assert value(metrics, "jobd_entry_wait_seconds_sum") == 4.0
    assert value(metrics, "jobd_entry_duration_seconds_sum") == 10.0
    ended = {state: value(metrics, "jobd_entries_ended_total", state=state) for state in ("succeeded", "failed")}
    assert ended == {"succeeded": 1, "failed": 1}
    assert value(metrics, "jobd_entries_ended_total", state="skipped") == 1
    assert value(metrics, "jobd_attempt_failures_total", kind="timeout") == 2
    assert value(metrics, "jobd_event_commit_lag_seconds_count") == 14
    assert value(metrics, "jobd_event_commit_lag_seconds_sum") == 7.0


def test_a_recovery_is_no_second_start(metrics: Metrics, job: Job):
    """A job that gets another runner has queued once; the death is counted."""
    begun = [events.JobSubmitted(), events.JobStarted(flow_run_id="run-1"), events.JobRecovering(reason="it died")]
    tell(metrics, job, *begun, events.JobStarted(flow_run_id="run-2"), events.JobSucceeded())
    assert value(metrics, "jobd_job_queue_seconds_count") == 1
    assert value(metrics, "jobd_runner_deaths_total") == 1
    assert value(metrics, "jobd_jobs_ended_total", state="succeeded") == 1


def test_nothing_is_kept_of_a_job_that_has_ended(metrics: Metrics, job: Job):
    """What an entry that never started waited for goes with its job."""
    tell(metrics, job, events.JobSubmitted(), events.JobStarted(flow_run_id="r"), events.EntryWaiting(**LEFT))
    assert metrics._wishes
    tell(metrics, job, events.JobSubmitted(), events.JobCancelling(reason="r"), events.JobCancelled(reason="r"))
    assert not metrics._wishes


def test_a_clock_that_was_set_back_counts_as_no_time(metrics: Metrics, job: Job):
    """A histogram of negative seconds would make every rate wrong."""
    record = Record(sequence=1, time=1001.0, event=events.JobSubmitted())
    metrics.tell(apply(job, record), (record,), 900.0)
    assert value(metrics, "jobd_event_commit_lag_seconds_sum") == 0.0


def test_the_documentation_has_every_metric_and_no_other(metrics: Metrics):
    """The table of docs/operations.md names each with its labels, as Prometheus's own parser reads them."""
    metrics.registry.register(SampleCollector(Sample))
    told = {}
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        if family.name.startswith("jobd_"):
            told[family.name + ("_total" if family.type == "counter" else "")] = family.type == "histogram"
            assert family.documentation
    rows = re.findall(r"^\| `(jobd_\w+)` \|([^|]*)\| (histogram: )?", DOCUMENT.read_text(), re.MULTILINE)
    assert {name: bool(histogram) for name, _labels, histogram in rows} == told
    labels = {name: set(re.findall(r"`(\w+)`", text.partition("(")[0])) for name, text, _histogram in rows}
    counted = {
        collector._name + ("_total" if collector._type == "counter" else ""): set(collector._labelnames)
        for collector in vars(metrics).values()
        if hasattr(collector, "_labelnames")
    }
    assert {name: labels[name] for name in counted} == counted


def test_only_that_it_does_not_answer_is_told_of_a_daemon_that_hangs(metrics: Metrics):
    """What is counted is still there; what would have to be looked at is left out rather than made up."""
    metrics.registry.register(SampleCollector(lambda: None))
    assert value(metrics, "jobd_up") == 0.0
    assert value(metrics, "jobd_watches_open") is None
    assert value(metrics, "jobd_jobs_submitted_total") == 0.0


def test_a_sample_is_told_by_state_and_resource(metrics: Metrics):
    """Each state and each resource is a series of its own."""
    sample = Sample(jobs={"queued": 2}, entries={"pending": 5}, used={"cpus": 1.5}, capacity={"cpus": 4.0}, watches=3)
    metrics.registry.register(SampleCollector(lambda: sample))
    assert value(metrics, "jobd_jobs", state="queued") == 2
    assert value(metrics, "jobd_entries", state="pending") == 5
    assert value(metrics, "jobd_capacity_used", resource="cpus") == 1.5
    assert value(metrics, "jobd_capacity", resource="cpus") == 4
    assert (value(metrics, "jobd_watches_open"), value(metrics, "jobd_up")) == (3, 1)
