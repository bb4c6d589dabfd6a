"""What each event does to a job, and which events do not fit."""

import pytest

from jobd import events
from jobd.errors import IllegalTransitionError
from jobd.events import Failure, FailureKind, JobEvent, Record
from jobd.history import _APPLY, apply, replay
from jobd.jobs import Job, new_job
from jobd.states import ArtifactState, EntryState, JobState

FAILURE = Failure(kind=FailureKind.EXIT_CODE, message="it exited with code 3", step="cut", entry="left", exit_code=3)
LEFT = {"step": "cut", "entry": "left"}

BEGUN: tuple[JobEvent, ...] = (
    events.JobSubmitted(),
    events.JobStarted(flow_run_id="run-1"),
    events.StepStarted(step="cut"),
    events.EntryWaiting(**LEFT),
)
RUNNING: tuple[JobEvent, ...] = (*BEGUN, events.EntryStarted(**LEFT, attempt=1, pid=42))
RETRYING = events.EntryRetrying(**LEFT, attempt=1, failure=FAILURE, delay_seconds=2.5)


def test_a_new_job_is_queued_and_has_the_parts_of_its_plan(job: Job):
    """A job starts with its plan's entries, artifacts and texts, and no event."""
    assert (job.state, job.sequence, job.entry_count, job.ended_entry_count) == (JobState.QUEUED, 0, 3, 0)
    assert (job.name, job.version, job.priority, dict(job.labels)) == ("example", "1.0", 3, {"team": "news"})
    assert job.entry("join", "all").inputs == ("left.txt", "right.txt")
    assert (job.artifact("left.txt").step, job.artifact("left.txt").entry, job.terminal) == ("cut", "left", False)


def test_waiting_tells_why(job: Job, play):
    """The reason why a queued job waits is kept until it starts."""
    job = play(job, events.JobSubmitted(), events.JobWaiting(reason="it waits for capacity"))
    assert (job.state, job.reason) == (JobState.QUEUED, "it waits for capacity")
    job = play(job, events.JobStarted(flow_run_id="run-1"))
    assert (job.state, job.reason, job.flow_run_id) == (JobState.RUNNING, "", "run-1")


def test_a_second_start_keeps_the_first_time(job: Job, play):
    """After a recovery the job starts again: a new flow run, the same start."""
    job = play(job, *RUNNING, events.JobRecovering(reason="it died"), events.JobStarted(flow_run_id="run-2"))
    assert (job.flow_run_id, job.started, job.recoveries) == ("run-2", 1002.0, 1)


def test_an_entry_that_starts_runs_its_attempt(job: Job, play):
    """A start sets the attempt and its time, and wipes what an earlier attempt reported."""
    job = play(job, *RUNNING, events.EntryProgress(**LEFT, percent=50, status="half"), RETRYING)
    job = play(job, events.EntryWaiting(**LEFT), events.EntryStarted(**LEFT, attempt=2, pid=43))
    left = job.entry("cut", "left")
    assert (
        left.state,
        left.attempt,
        left.progress,
        left.status,
        left.started,
    ) == (EntryState.RUNNING, 2, None, "", 1005.0)


def test_progress_and_status_change_apart(job: Job, play):
    """A report of one of the two leaves the other as it was."""
    job = play(job, *RUNNING, events.EntryProgress(**LEFT, percent=25), events.EntryProgress(**LEFT, status="reading"))
    assert (job.entry("cut", "left").progress, job.entry("cut", "left").status) == (25, "reading")


@pytest.mark.parametrize(
    ("event", "state", "reason"),
    [
        (events.EntrySucceeded(**LEFT, attempt=1), EntryState.SUCCEEDED, ""),
        (events.EntryFailed(**LEFT, attempt=1, failure=FAILURE), EntryState.FAILED, ""),
        (events.EntryCancelled(**LEFT, reason="asked"), EntryState.CANCELLED, "asked"),
    ],
)
def test_an_entry_that_ends_is_counted(job: Job, play, event: JobEvent, state: EntryState, reason: str):
    """Each end of a running entry sets its state, its time and its reason, and counts once."""
    job = play(job, *RUNNING, event)
    left = job.entry("cut", "left")
    assert (state, 1006.0, reason, 1) == (left.state, left.ended, left.reason, job.ended_entry_count)
    assert (FAILURE if state is EntryState.FAILED else None) == left.failure


def test_a_skipped_entry_never_started(job: Job, play):
    """An entry of a step that never began can be skipped."""
    job = play(job, events.JobSubmitted(), events.EntrySkipped(step="join", entry="all", reason="an entry failed"))
    assert (job.entry("join", "all").state, job.entry("join", "all").started) == (EntryState.SKIPPED, None)


def test_recovering_sends_open_entries_back_and_leaves_ended_ones(job: Job, play):
    """What was running or waiting is pending again; what has ended stays ended."""
    job = play(job, *RUNNING, events.EntrySucceeded(**LEFT, attempt=1), events.EntryWaiting(step="cut", entry="right"))
    job = play(job, events.EntryStarted(step="cut", entry="right", attempt=1, pid=44))
    job = play(job, events.JobRecovering(reason="its runner died"))
    states = [entry.state for entry in job.entries]
    assert states == [EntryState.SUCCEEDED, EntryState.PENDING, EntryState.PENDING]
    assert (job.entry("cut", "right").attempt, job.ended_entry_count, job.state) == (1, 1, JobState.RUNNING)


def test_an_artifact_comes_and_goes(job: Job, play):
    """Publishing tells the size, removing tells the reason, and publishing again is possible."""
    published = events.ArtifactPublished(name="left.txt", size_bytes=7, folder=True)
    job = play(job, events.JobSubmitted(), published)
    left = job.artifact("left.txt")
    assert (left.state, left.size_bytes, left.folder, left.reason) == (ArtifactState.PRESENT, 7, True, "")
    job = play(job, events.ArtifactRemoved(name="left.txt", reason="used up"))
    assert (job.artifact("left.txt").state, job.artifact("left.txt").reason) == (ArtifactState.REMOVED, "used up")
    assert play(job, published).artifact("left.txt").state == ArtifactState.PRESENT


@pytest.mark.parametrize(
    ("ending", "state", "reason"),
    [
        ((events.JobSucceeded(),), JobState.SUCCEEDED, ""),
        ((events.JobFailed(failure=FAILURE),), JobState.FAILED, ""),
        (
            (events.JobCancelling(reason="asked"), events.JobCancelled(reason="asked")),
            JobState.CANCELLED,
            "asked",
        ),
    ],
)
def test_after_its_end_a_job_only_loses_artifacts(job: Job, play, ending: tuple, state: JobState, reason: str):
    """Each terminal event sets state, time and reason; afterwards nothing but a removal of an artifact fits."""
    job = play(job, *RUNNING, *ending)
    assert (state, True, reason, 1005.0 + len(ending)) == (job.state, job.terminal, job.reason, job.ended)
    assert state == play(job, events.ArtifactRemoved(name="all.txt", reason="it grew old")).state
    for event in (events.JobSubmitted(), events.JobSucceeded(), events.EntryProgress(**LEFT, percent=1), *ending):
        with pytest.raises(IllegalTransitionError, match=f"{event.kind} after the job was {state}"):
            play(job, event)


@pytest.mark.parametrize("sequence", [0, 1, 2, 4, 100])
def test_an_event_out_of_turn_is_refused(job: Job, play, sequence: int):
    """After two events only the third fits: a repeated or missing one is never taken."""
    job = play(job, events.JobSubmitted(), events.JobWaiting(reason="busy"))
    with pytest.raises(IllegalTransitionError, match=f"event {sequence} does not follow event 2"):
        apply(job, Record(sequence=sequence, time=1.0, event=events.JobStarted(flow_run_id="")))


@pytest.mark.parametrize(
    "event",
    [
        events.StepStarted(step="nowhere"),
        events.StepSucceeded(step="nowhere"),
        events.EntryWaiting(step="cut", entry="all"),
        events.EntryStarted(step="nowhere", entry="left", attempt=1, pid=1),
        events.EntryProgress(step="cut", entry="nobody", percent=1),
        events.EntrySkipped(step="join", entry="left", reason=""),
        events.ArtifactPublished(name="nothing", size_bytes=1),
        events.ArtifactRemoved(name="nothing", reason=""),
    ],
    ids=lambda event: event.kind,
)
def test_an_event_of_something_unknown_is_refused(job: Job, play, event: JobEvent):
    """A step, entry or artifact that the job does not have is named in the refusal."""
    with pytest.raises(IllegalTransitionError, match=f"{event.kind} names .* which the job does not have"):
        play(job, events.JobSubmitted(), event)


@pytest.mark.parametrize(
    "event",
    [
        events.EntryStarted(step="join", entry="all", attempt=1, pid=1),
        events.EntryProgress(step="join", entry="all", percent=1),
        events.EntryCancelled(step="join", entry="all", reason="asked"),
        events.EntryRetrying(step="join", entry="all", attempt=1, failure=FAILURE, delay_seconds=1),
        events.EntryWaiting(**LEFT),
        events.EntrySkipped(**LEFT, reason=""),
        events.JobCancelled(reason="nobody asked"),
    ],
    ids=lambda event: f"{event.kind}-{getattr(event, 'entry', '')}",
)
def test_an_event_at_the_wrong_time_is_refused(job: Job, play, event: JobEvent):
    """An event whose move the tables do not hold is refused, and the job it was put to is unchanged."""
    running = play(job, *RUNNING)
    before = running
    with pytest.raises(IllegalTransitionError):
        play(running, event)
    assert before == running


def test_every_event_has_a_row():
    """A new kind of event cannot be forgotten in the table of effects."""
    assert set(_APPLY) == set(events.JobEvent.__args__)


def test_a_replay_gives_the_job_that_lived_through_it(job: Job, play, plan):
    """Folding the same records from the start gives an equal job."""
    happened = (*RUNNING, RETRYING, events.EntryWaiting(**LEFT), events.EntryStarted(**LEFT, attempt=2, pid=7))
    records = [Record(sequence=n, time=1000.0 + n, event=event) for n, event in enumerate(happened, 1)]
    assert play(job, *happened) == replay(new_job("abc123", plan, submitted=1000.0), records)
