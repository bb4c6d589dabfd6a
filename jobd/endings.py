"""How a job ends that no runner brings to its end: what its events then are."""

from collections.abc import Iterator

from jobd import events
from jobd.events import Failure, FailureKind, JobEvent
from jobd.jobs import Entry, Job
from jobd.states import TERMINAL_ENTRY_STATES, EntryState

_STARTED = frozenset({EntryState.RUNNING, EntryState.RETRYING})


def cancelled(job: Job, reason: str) -> tuple[JobEvent, ...]:
    """Give the events that end a job, of which nothing lives, as cancelled; none when it has ended."""
    if job.terminal:
        return ()
    return (*_entries_cancelled(job, reason), events.JobCancelled(reason=reason))


def failed(job: Job, message: str) -> tuple[JobEvent, ...]:
    """Give the events that end a job, of which nothing lives, as failed through no fault of a module."""
    if job.terminal:
        return ()
    return (*_entries_failed(job, message), events.JobFailed(failure=_failure(message)))


def _entries_cancelled(job: Job, reason: str) -> Iterator[JobEvent]:
    for entry in _open_entries(job):
        kind = events.EntryCancelled if entry.state in _STARTED else events.EntrySkipped
        yield kind(step=entry.step, entry=entry.name, reason=reason)


def _entries_failed(job: Job, message: str) -> Iterator[JobEvent]:
    for entry in _open_entries(job):
        if entry.state in _STARTED:
            failure = _failure(message, entry)
            yield events.EntryFailed(step=entry.step, entry=entry.name, attempt=entry.attempt, failure=failure)
        else:
            yield events.EntrySkipped(step=entry.step, entry=entry.name, reason=message)


def _open_entries(job: Job) -> Iterator[Entry]:
    return (entry for entry in job.entries if entry.state not in TERMINAL_ENTRY_STATES)


def _failure(message: str, entry: Entry | None = None) -> Failure:
    step, name = (entry.step, entry.name) if entry else ("", "")
    return Failure(kind=FailureKind.SYSTEM, message=message, step=step, entry=name)
