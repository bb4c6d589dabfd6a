"""What events make of a job: one pure function says what each does, live and on replay alike."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from jobd import events
from jobd.errors import IllegalTransitionError
from jobd.events import Record, Usage
from jobd.jobs import Job
from jobd.states import (
    TERMINAL_ENTRY_STATES,
    ArtifactState,
    EntryState,
    JobState,
    check_entry_move,
    check_job_move,
)

T = TypeVar("T")


def replay(job: Job, records: Iterable[Record]) -> Job:
    """Apply records in order, at a cost that grows with the job and with the records, but not with their product."""
    # Copied once for all records: lists are changed in their place.
    job = replace(job, entries=list(job.entries), artifacts=list(job.artifacts))  # type: ignore[arg-type]
    for record in records:
        job = apply(job, record)
    return replace(job, entries=tuple(job.entries), artifacts=tuple(job.artifacts))


def apply(job: Job, record: Record) -> Job:
    """Give the job as it is after one more event.

    IllegalTransitionError when the event does not fit: a gap in the sequence, an unknown entry or artifact,
    a move that the table of states does not hold, anything after the terminal event.
    """
    if record.sequence != job.sequence + 1:
        raise IllegalTransitionError(f"event {record.sequence} does not follow event {job.sequence}")
    if job.terminal and not isinstance(record.event, events.ArtifactRemoved):
        raise IllegalTransitionError(f"{record.event.kind} after the job was {job.state}")
    try:
        changed = _APPLY[type(record.event)](job, record.event, record.time)
    except KeyError as error:
        raise IllegalTransitionError(f"{record.event.kind} names {error}, which the job does not have") from error
    return replace(changed, sequence=record.sequence)


def _job_submitted(job: Job, event: events.JobSubmitted, time: float) -> Job:
    return replace(job, submitted=time, owner=event.owner)


def _job_waiting(job: Job, event: events.JobWaiting, _time: float) -> Job:
    return replace(job, reason=event.reason)


def _job_started(job: Job, event: events.JobStarted, time: float) -> Job:
    if job.state is JobState.QUEUED:
        check_job_move(job.state, JobState.RUNNING)
        job = replace(job, state=JobState.RUNNING, reason="")
    return replace(job, started=job.started or time, flow_run_id=event.flow_run_id or job.flow_run_id)


def _job_recovering(job: Job, _event: events.JobRecovering, _time: float) -> Job:
    entries = tuple(
        entry
        if entry.state in TERMINAL_ENTRY_STATES or entry.state is EntryState.PENDING
        else replace(entry, state=EntryState.PENDING, progress=None, status="")
        for entry in job.entries
    )
    return replace(job, entries=entries, recoveries=job.recoveries + 1)


def _job_cancelling(job: Job, event: events.JobCancelling, _time: float) -> Job:
    check_job_move(job.state, JobState.CANCELLING)
    return replace(job, state=JobState.CANCELLING, reason=event.reason)


def _end_job(job: Job, state: JobState, time: float) -> Job:
    check_job_move(job.state, state)
    return replace(job, state=state, ended=time)


def _job_succeeded(job: Job, _event: events.JobSucceeded, time: float) -> Job:
    return replace(_end_job(job, JobState.SUCCEEDED, time), reason="")


def _job_failed(job: Job, event: events.JobFailed, time: float) -> Job:
    return replace(_end_job(job, JobState.FAILED, time), reason="", failure=event.failure)


def _job_cancelled(job: Job, event: events.JobCancelled, time: float) -> Job:
    return replace(_end_job(job, JobState.CANCELLED, time), reason=event.reason)


def _step_changed(job: Job, event: events.StepStarted | events.StepSucceeded, _time: float) -> Job:
    if not any(step == event.step for step, _name in job.places):
        raise KeyError(event.step)
    return job


def _change_entry(job: Job, step: str, name: str, state: EntryState, **changes: object) -> Job:
    place = job.places[step, name]
    old = job.entries[place]
    check_entry_move(old.state, state)
    new = replace(old, state=state, **changes)  # type: ignore[arg-type]
    ended = job.ended_entry_count + (state in TERMINAL_ENTRY_STATES)
    return replace(job, entries=_put(job.entries, place, new), ended_entry_count=ended)


def _put(items: tuple[T, ...], place: int, item: T) -> tuple[T, ...]:
    """Give the items with another in this place; a list is one that only `replay` knows, and is changed itself."""
    if isinstance(items, list):
        items[place] = item
        return items
    return (*items[:place], item, *items[place + 1 :])


def _entry_waiting(job: Job, event: events.EntryWaiting, _time: float) -> Job:
    return _change_entry(job, event.step, event.entry, EntryState.WAITING)


def _entry_started(job: Job, event: events.EntryStarted, time: float) -> Job:
    started = job.entry(event.step, event.entry).started or time
    return _change_entry(
        job,
        event.step,
        event.entry,
        EntryState.RUNNING,
        attempt=event.attempt,
        started=started,
        progress=None,
        status="",
    )


def _entry_progress(job: Job, event: events.EntryProgress, _time: float) -> Job:
    place = job.places[event.step, event.entry]
    old = job.entries[place]
    if old.state is not EntryState.RUNNING:
        raise IllegalTransitionError(f"progress of an entry that is {old.state}")
    progress = old.progress if event.percent is None else event.percent
    status = old.status if event.status is None else event.status
    return replace(job, entries=_put(job.entries, place, replace(old, progress=progress, status=status)))


def _entry_retrying(job: Job, event: events.EntryRetrying, _time: float) -> Job:
    changes = {"reason": event.failure.message, "usage": event.usage}
    return _change_entry(job, event.step, event.entry, EntryState.RETRYING, **changes)


def _entry_succeeded(job: Job, event: events.EntrySucceeded, time: float) -> Job:
    return _change_entry(job, event.step, event.entry, EntryState.SUCCEEDED, ended=time, reason="", usage=event.usage)


def _last_usage(job: Job, event: events.EntryFailed | events.EntryCancelled) -> Usage | None:
    """Give what the attempt before used, for an entry that ends without another."""
    return job.entry(event.step, event.entry).usage


def _entry_failed(job: Job, event: events.EntryFailed, time: float) -> Job:
    changes = {"ended": time, "reason": "", "failure": event.failure, "usage": event.usage or _last_usage(job, event)}
    return _change_entry(job, event.step, event.entry, EntryState.FAILED, **changes)


def _entry_cancelled(job: Job, event: events.EntryCancelled, time: float) -> Job:
    changes = {"ended": time, "reason": event.reason, "usage": event.usage or _last_usage(job, event)}
    return _change_entry(job, event.step, event.entry, EntryState.CANCELLED, **changes)


def _entry_skipped(job: Job, event: events.EntrySkipped, time: float) -> Job:
    return _change_entry(job, event.step, event.entry, EntryState.SKIPPED, ended=time, reason=event.reason)


def _entry_reused(job: Job, event: events.EntryReused, time: float) -> Job:
    reason = f"it succeeded in job {event.job_id}"
    return _change_entry(job, event.step, event.entry, EntryState.SUCCEEDED, ended=time, reason=reason)


def _change_artifact(job: Job, name: str, **changes: object) -> Job:
    place = job.artifact_places[name]
    new = replace(job.artifacts[place], **changes)  # type: ignore[arg-type]
    return replace(job, artifacts=_put(job.artifacts, place, new))


def _artifact_published(job: Job, event: events.ArtifactPublished, _time: float) -> Job:
    return _change_artifact(
        job, event.name, state=ArtifactState.PRESENT, size_bytes=event.size_bytes, folder=event.folder, reason=""
    )


def _artifact_removed(job: Job, event: events.ArtifactRemoved, _time: float) -> Job:
    return _change_artifact(job, event.name, state=ArtifactState.REMOVED, reason=event.reason)


# One row an event; mypy cannot tie a row's key to its function's argument, hence Any.
_APPLY: Mapping[type, Callable[[Job, Any, float], Job]] = {
    events.JobSubmitted: _job_submitted,
    events.JobWaiting: _job_waiting,
    events.JobStarted: _job_started,
    events.JobRecovering: _job_recovering,
    events.JobCancelling: _job_cancelling,
    events.JobSucceeded: _job_succeeded,
    events.JobFailed: _job_failed,
    events.JobCancelled: _job_cancelled,
    events.StepStarted: _step_changed,
    events.StepSucceeded: _step_changed,
    events.EntryWaiting: _entry_waiting,
    events.EntryStarted: _entry_started,
    events.EntryProgress: _entry_progress,
    events.EntryRetrying: _entry_retrying,
    events.EntrySucceeded: _entry_succeeded,
    events.EntryFailed: _entry_failed,
    events.EntryCancelled: _entry_cancelled,
    events.EntrySkipped: _entry_skipped,
    events.ArtifactPublished: _artifact_published,
    events.ArtifactRemoved: _artifact_removed,
    events.EntryReused: _entry_reused,
}
