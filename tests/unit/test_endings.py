"""The events with which the daemon ends a job that no runner brings to its end."""

from collections.abc import Callable

import pytest

from jobd import endings, events
from jobd.events import FailureKind, JobEvent
from jobd.jobs import Job
from jobd.states import EntryState, JobState

LEFT = {"step": "cut", "entry": "left"}
RIGHT = {"step": "cut", "entry": "right"}

STARTED: tuple[JobEvent, ...] = (
    events.JobSubmitted(),
    events.JobStarted(flow_run_id=""),
    events.EntryWaiting(**LEFT),
    events.EntryWaiting(**RIGHT),
    events.EntryStarted(**LEFT, attempt=1, pid=1),
)


@pytest.mark.parametrize(
    "before",
    [(events.JobSubmitted(),), STARTED, (*STARTED, events.EntrySucceeded(**LEFT, attempt=1))],
    ids=["queued", "running", "half done"],
)
def test_a_cancelled_job_has_every_entry_ended(job: Job, play, before: tuple[JobEvent, ...]):
    """Every open entry is cancelled if it had started and skipped if not, and then the job is cancelled."""
    job = play(job, *before, events.JobCancelling(reason="asked"))
    ended = play(job, *endings.cancelled(job, "asked"))
    assert (ended.state, ended.reason, ended.ended_entry_count) == (JobState.CANCELLED, "asked", 3)
    for old, new in zip(job.entries, ended.entries, strict=True):
        started = old.state in {EntryState.RUNNING, EntryState.RETRYING}
        kept = old.state if old.state is EntryState.SUCCEEDED else None
        assert (kept or (EntryState.CANCELLED if started else EntryState.SKIPPED)) == new.state


def test_a_failed_job_blames_the_system(job: Job, play):
    """Started entries fail through no fault of their module, the others are skipped, and the job tells why."""
    job = play(job, *STARTED)
    ended = play(job, *endings.failed(job, "its runner died"))
    assert (
        ended.state,
        ended.failure.kind,
        ended.failure.message,
    ) == (JobState.FAILED, FailureKind.SYSTEM, "its runner died")
    assert [entry.state for entry in ended.entries] == [EntryState.FAILED, EntryState.SKIPPED, EntryState.SKIPPED]
    failure = ended.entry("cut", "left").failure
    assert (failure.step, failure.entry, failure.kind) == ("cut", "left", FailureKind.SYSTEM)


@pytest.mark.parametrize("ending", [endings.cancelled, endings.failed])
def test_an_ended_job_has_nothing_left_to_end(job: Job, play, ending: Callable):
    """A job that has ended gets no further event, so that it has one terminal event only."""
    job = play(job, events.JobSubmitted(), events.JobFailed(failure=endings._failure("no disk")))
    assert ending(job, "again") == ()
