"""Jobs as rows of the store, and back."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import RowMapping

from jobd.events import JOB_EVENT, Failure, Record, Usage
from jobd.jobs import Artifact, Entry, Job, with_parts
from jobd.states import ArtifactState, EntryState, JobState

Row = dict[str, Any]


def job_row(job: Job) -> Row:
    """Give the columns of a job that its events change."""
    return {
        "state": job.state.value,
        "owner": job.owner,
        "reason": job.reason,
        "started": job.started,
        "ended": job.ended,
        "failure": _failure_text(job.failure),
        "flow_run_id": job.flow_run_id,
        "sequence": job.sequence,
        "recoveries": job.recoveries,
        "ended_entry_count": job.ended_entry_count,
    }


def job_changes(before: Job, after: Job) -> Row:
    """Give the columns of a job that differ; indexes are left alone that hold none of them."""
    known = job_row(before)
    return {name: value for name, value in job_row(after).items() if value != known[name]}


def new_job_row(job: Job) -> Row:
    """Give the columns of a job that are known of the job itself."""
    return job_row(job) | {
        "id": job.id,
        "name": job.name,
        "version": job.version,
        "labels": json.dumps(dict(job.labels)),
        "priority": job.priority,
        "submitted": job.submitted,
        "entry_count": job.entry_count,
        "journal_offset": 0,
        "recorded": 0,
        "retry_of": job.retry_of,
    }


def entry_row(number: int, place: int, entry: Entry) -> Row:
    """Give all columns of an entry."""
    return {
        "job": number,
        "place": place,
        "step": entry.step,
        "name": entry.name,
        "module": entry.module,
        "inputs": json.dumps(entry.inputs),
        "outputs": json.dumps(entry.outputs),
        **_entry_changes(entry),
    }


def entry_update(number: int, place: int, entry: Entry) -> Row:
    """Give the columns of an entry that events change, and its key."""
    return _entry_changes(entry) | {"this_job": number, "this_place": place}


def _entry_changes(entry: Entry) -> Row:
    return {
        "state": entry.state.value,
        "attempt": entry.attempt,
        "progress": entry.progress,
        "status": entry.status,
        "reason": entry.reason,
        "started": entry.started,
        "ended": entry.ended,
        "failure": _failure_text(entry.failure),
        "cpu_seconds": entry.usage.cpu_seconds if entry.usage else None,
        "max_rss_bytes": entry.usage.max_rss_bytes if entry.usage else None,
    }


def label_rows(number: int, job: Job) -> list[Row]:
    """Give a row for each label of a job."""
    return [{"job": number, "key": key, "value": value} for key, value in job.labels.items()]


def removal_row(number: int, job: Job, *, position: int, time: float) -> Row:
    """Give what is kept of a job that is removed."""
    return {
        "position": position,
        "job": number,
        "id": job.id,
        "name": job.name,
        "labels": json.dumps(dict(job.labels)),
        "owner": job.owner,
        "state": job.state.value,
        "sequence": job.sequence,
        "time": time,
    }


def artifact_row(number: int, place: int, artifact: Artifact) -> Row:
    """Give all columns of an artifact."""
    return {
        "job": number,
        "place": place,
        "name": artifact.name,
        "type": artifact.type,
        "public": int(artifact.public),
        "step": artifact.step,
        "entry": artifact.entry,
        **_artifact_changes(artifact),
    }


def artifact_update(number: int, place: int, artifact: Artifact) -> Row:
    """Give the columns of an artifact that events change, and its key."""
    return _artifact_changes(artifact) | {"this_job": number, "this_place": place}


def _artifact_changes(artifact: Artifact) -> Row:
    return {
        "state": artifact.state.value,
        "size_bytes": artifact.size_bytes,
        "folder": int(artifact.folder),
        "reason": artifact.reason,
    }


def event_row(number: int, record: Record) -> Row:
    """Give the columns of an event."""
    return {
        "job": number,
        "sequence": record.sequence,
        "time": record.time,
        "event": record.event.model_dump_json(),
    }


def to_job(row: RowMapping, entries: Iterable[RowMapping] = (), artifacts: Iterable[RowMapping] = ()) -> Job:
    """Read a job; without entries and artifacts when none are given."""
    job = Job(
        id=row["id"],
        name=row["name"],
        version=row["version"],
        labels=json.loads(row["labels"]),
        owner=row["owner"],
        priority=row["priority"],
        submitted=row["submitted"],
        state=JobState(row["state"]),
        reason=row["reason"],
        started=row["started"],
        ended=row["ended"],
        failure=_failure(row["failure"]),
        flow_run_id=row["flow_run_id"],
        recorded=bool(row["recorded"]),
        retry_of=row["retry_of"],
        sequence=row["sequence"],
        recoveries=row["recoveries"],
        entry_count=row["entry_count"],
        ended_entry_count=row["ended_entry_count"],
    )
    return with_parts(job, tuple(map(_to_entry, entries)), tuple(map(_to_artifact, artifacts)))


def to_record(row: RowMapping) -> Record:
    """Read an event."""
    return Record(sequence=row["sequence"], time=row["time"], event=JOB_EVENT.validate_json(row["event"]))


def _to_entry(row: RowMapping) -> Entry:
    return Entry(
        step=row["step"],
        name=row["name"],
        module=row["module"],
        inputs=tuple(json.loads(row["inputs"])),
        outputs=tuple(json.loads(row["outputs"])),
        state=EntryState(row["state"]),
        attempt=row["attempt"],
        progress=row["progress"],
        status=row["status"],
        reason=row["reason"],
        started=row["started"],
        ended=row["ended"],
        failure=_failure(row["failure"]),
        usage=_usage(row),
    )


def _usage(row: RowMapping) -> Usage | None:
    if row["cpu_seconds"] is None:
        return None
    return Usage(cpu_seconds=row["cpu_seconds"], max_rss_bytes=row["max_rss_bytes"])


def _to_artifact(row: RowMapping) -> Artifact:
    return Artifact(
        name=row["name"],
        type=row["type"],
        public=bool(row["public"]),
        step=row["step"],
        entry=row["entry"],
        state=ArtifactState(row["state"]),
        size_bytes=row["size_bytes"],
        folder=bool(row["folder"]),
        reason=row["reason"],
    )


def _failure_text(failure: Failure | None) -> str | None:
    return None if failure is None else failure.model_dump_json()


def _failure(text: str | None) -> Failure | None:
    return None if text is None else Failure.model_validate_json(text)


ENTRY_CHANGES = tuple(_entry_changes(Entry(step="", name="", module="")))
"""The columns of an entry that events change."""
ARTIFACT_CHANGES = tuple(_artifact_changes(Artifact(name="", type="", public=False)))
"""The columns of an artifact that events change."""
