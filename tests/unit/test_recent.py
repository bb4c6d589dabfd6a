"""The latest events in memory: the same as those on disk, or none at all."""

import pytest

from jobd import events
from jobd.errors import IllegalTransitionError
from jobd.events import Record
from jobd.history import replay
from jobd.jobs import Job
from jobd.recent import RecentEvents


def records(first: int, last: int) -> list[Record]:
    """Make events with these sequences, both included."""
    return [
        Record(sequence=number, time=float(number), event=events.JobWaiting(reason=str(number)))
        for number in range(first, last + 1)
    ]


def test_what_is_kept_can_be_read_from_any_place():
    """After any sequence from the one before the first to the one before the last, the rest comes in order."""
    recent = RecentEvents()
    recent.add("a", records(5, 7))
    recent.add("b", records(1, 1))
    recent.add("a", records(8, 9))
    for after in range(4, 9):
        assert recent.after("a", after, 100) == tuple(records(after + 1, 9))
        assert recent.after("a", after, 2) == tuple(records(after + 1, min(after + 2, 9)))


def test_what_is_not_kept_is_not_answered():
    """Nothing is said of an unknown job, of what is older than all that is kept, and of what has not come yet."""
    recent = RecentEvents()
    recent.add("a", records(5, 7))
    assert [recent.after("a", after, 100) for after in (0, 3, 7, 8)] == [None] * 4
    assert recent.after("b", 0, 100) is None


def test_the_oldest_of_all_jobs_go_first():
    """No more than the bound is kept over all jobs, and what is kept of a job is its latest."""
    recent = RecentEvents(most=10)
    for number in range(1, 9):
        recent.add("a", records(number, number))
        recent.add("b", records(number, number))
    kept = {job: [after for after in range(8) if recent.after(job, after, 100)] for job in ("a", "b")}
    assert kept == {"a": [3, 4, 5, 6, 7], "b": [3, 4, 5, 6, 7]}
    recent.add("c", records(1, 500))
    assert recent.after("a", 7, 100) is recent.after("b", 7, 100) is recent.after("c", 0, 1000) is None
    assert recent.after("c", 490, 100) == tuple(records(491, 500))


def test_a_replay_leaves_the_job_that_it_began_with(job: Job):
    """Neither records that fit nor records that do not change anything of the job they are applied to."""
    before = (job.entries, job.artifacts, repr(job))
    began = [
        events.JobStarted(flow_run_id="run"),
        events.EntryWaiting(step="cut", entry="left"),
        events.ArtifactPublished(name="video.mp4", size_bytes=3),
    ]
    fitting = [Record(sequence=number, time=1.0, event=event) for number, event in enumerate(began, 1)]
    after = replay(job, fitting)
    assert isinstance(after.entries, tuple)
    assert isinstance(after.artifacts, tuple)
    assert after.entries != job.entries
    wrong = Record(sequence=4, time=1.0, event=events.EntrySucceeded(step="cut", entry="left", attempt=1))
    with pytest.raises(IllegalTransitionError):
        replay(job, [*fitting, wrong])
    assert (job.entries, job.artifacts, repr(job)) == before
