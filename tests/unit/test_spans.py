"""The spans of a job, made from its history."""

from jobd import events
from jobd.events import Failure, FailureKind, JobEvent, Record
from jobd.history import apply
from jobd.jobs import Job
from jobd.spans import entry_spans, job_span

FAILURE = Failure(kind=FailureKind.EXIT_CODE, message="it exited with code 3", exit_code=3)
LEFT = {"step": "cut", "entry": "left"}
HISTORY: tuple[JobEvent, ...] = (
    events.JobSubmitted(),
    events.JobStarted(flow_run_id="run-1"),
    events.StepStarted(step="cut"),
    events.EntryWaiting(**LEFT),
    events.EntryStarted(**LEFT, attempt=1, pid=42),
    events.EntryRetrying(**LEFT, attempt=1, failure=FAILURE, delay_seconds=0),
    events.EntryWaiting(**LEFT),
    events.EntryStarted(**LEFT, attempt=2, pid=43),
    events.EntryFailed(**LEFT, attempt=2, failure=FAILURE),
    events.EntrySkipped(step="cut", entry="right", reason="an entry failed"),
    events.EntrySkipped(step="join", entry="all", reason="an entry failed"),
    events.JobFailed(failure=FAILURE),
)


def played(job: Job, *happened: JobEvent) -> tuple[Job, list[Record]]:
    """Let things happen a second apart, the first at 1001."""
    records = []
    for event in happened:
        records.append(Record(sequence=job.sequence + 1, time=1001.0 + job.sequence, event=event))
        job = apply(job, records[-1])
    return job, records


def test_a_job_is_a_span_from_its_submission_to_its_end(job: Job):
    """It tells how the job ended, why, and when it started."""
    span = job_span(*played(job, *HISTORY))
    assert (span.name, span.start, span.end) == ("job example", 1001.0, 1012.0)
    assert span.failure == "it exited with code 3"
    assert span.attributes == {
        "jobd.job.id": "abc123",
        "jobd.job.name": "example",
        "jobd.job.version": "1.0",
        "jobd.job.state": "failed",
        "jobd.job.entries": 3,
    }
    assert [(moment.time, moment.name) for moment in span.moments] == [(1002.0, "started"), (1003.0, "step started")]


def test_an_entry_is_a_span_from_its_first_attempt_to_its_end(job: Job):
    """Every attempt is told with its time; an entry that never ran has no span."""
    (span,) = entry_spans(*played(job, *HISTORY))
    assert (span.name, span.start, span.end, span.failure) == ("cut/left", 1005.0, 1009.0, "it exited with code 3")
    assert [(moment.time, moment.name, moment.attributes["attempt"]) for moment in span.moments] == [
        (1005.0, "attempt", 1),
        (1006.0, "attempt failed", 1),
        (1008.0, "attempt", 2),
    ]
    told = (span.attributes["jobd.entry.attempts"], span.attributes["jobd.entry.wait_seconds"])
    assert told == (2, 1.0)
    assert span.attributes["jobd.failure.kind"] == "exit_code"


def test_a_job_that_never_started_is_a_span_all_the_same(job: Job):
    """One that was cancelled in the queue ends where it was cancelled, and has no entries."""
    cancelled = events.JobCancelling(reason="too late"), events.JobCancelled(reason="too late")
    job, records = played(job, events.JobSubmitted(), *cancelled)
    span = job_span(job, records)
    assert (span.end, span.attributes["jobd.job.state"], span.failure) == (1003.0, "cancelled", "")
    assert [(moment.name, moment.attributes) for moment in span.moments] == [("cancelling", {"reason": "too late"})]
    assert entry_spans(job, records) == []
