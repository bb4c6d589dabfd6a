"""A job as it is now, kept up to date by its events."""

from collections.abc import Callable

from google.protobuf.timestamp_pb2 import Timestamp
from jobapi.v1 import job_pb2

from jobctl.pace import Paces

_JOB_STATES = {
    "job_submitted": job_pb2.JOB_STATE_QUEUED,
    "job_waiting": job_pb2.JOB_STATE_QUEUED,
    "job_started": job_pb2.JOB_STATE_RUNNING,
    "job_cancelling": job_pb2.JOB_STATE_CANCELLING,
    "job_succeeded": job_pb2.JOB_STATE_SUCCEEDED,
    "job_failed": job_pb2.JOB_STATE_FAILED,
    "job_cancelled": job_pb2.JOB_STATE_CANCELLED,
}


class JobView:
    """Folds events over the last snapshot; an event that the snapshot reflects already changes nothing."""

    def __init__(self) -> None:
        """Begin without a job."""
        self.job = job_pb2.Job()
        self.paces = Paces()
        self._entries: dict[tuple[str, str], job_pb2.Entry] = {}

    def reset(self, job: job_pb2.Job) -> None:
        """Take a snapshot as the truth."""
        self.job.CopyFrom(job)
        self._entries = {(step.name, entry.name): entry for step in self.job.steps for entry in step.entries}

    def apply(self, event: job_pb2.Event) -> None:
        """Take an event in; one of a kind or entry that is not known only moves the sequence."""
        # Of what the snapshot reflects already it does not tell when it happened.
        self.paces.take(event)
        if event.sequence <= self.job.last_sequence:
            return
        self.job.last_sequence = event.sequence
        kind = event.WhichOneof("kind") or ""
        if kind in _JOB_STATES:
            self._apply_to_job(kind, event)
        elif kind in _ENTRY_CHANGES:
            change = getattr(event, kind)
            entry = self._entries.get((change.step, change.entry))
            if entry:
                _ENTRY_CHANGES[kind](entry, event)
        elif kind in _ARTIFACT_CHANGES:
            _ARTIFACT_CHANGES[kind](self._find_artifact(getattr(event, kind).name), event)

    def _apply_to_job(self, kind: str, event: job_pb2.Event) -> None:
        self.job.state = _JOB_STATES[kind]
        change = getattr(event, kind)
        self.job.reason = getattr(change, "reason", "")
        if kind == "job_started":
            self.job.flow_run_id = change.flow_run_id
            self.job.start_time.CopyFrom(event.time)
        elif kind == "job_failed":
            self.job.failure.CopyFrom(change.failure)
        if kind in {"job_succeeded", "job_failed", "job_cancelled"}:
            self.job.end_time.CopyFrom(event.time)

    def _find_artifact(self, name: str) -> job_pb2.Artifact:
        found = next((artifact for artifact in self.job.artifacts if artifact.name == name), None)
        return found or job_pb2.Artifact(name=name)


def _wait(entry: job_pb2.Entry, _event: job_pb2.Event) -> None:
    entry.state = job_pb2.ENTRY_STATE_WAITING


def _start(entry: job_pb2.Entry, event: job_pb2.Event) -> None:
    entry.state = job_pb2.ENTRY_STATE_RUNNING
    entry.attempt = event.entry_started.attempt
    entry.reason = entry.status = ""
    entry.ClearField("progress_percent")
    entry.ClearField("failure")
    if not entry.HasField("start_time"):
        entry.start_time.CopyFrom(event.time)


def _progress(entry: job_pb2.Entry, event: job_pb2.Event) -> None:
    change = event.entry_progress
    if change.HasField("percent"):
        entry.progress_percent = change.percent
    if change.HasField("status"):
        entry.status = change.status


def _retry(entry: job_pb2.Entry, event: job_pb2.Event) -> None:
    entry.state = job_pb2.ENTRY_STATE_RETRYING
    entry.failure.CopyFrom(event.entry_retrying.failure)


def _succeed(entry: job_pb2.Entry, event: job_pb2.Event) -> None:
    _end(entry, job_pb2.ENTRY_STATE_SUCCEEDED, event.time)
    entry.ClearField("failure")


def _fail(entry: job_pb2.Entry, event: job_pb2.Event) -> None:
    _end(entry, job_pb2.ENTRY_STATE_FAILED, event.time)
    entry.failure.CopyFrom(event.entry_failed.failure)


def _cancel(entry: job_pb2.Entry, event: job_pb2.Event) -> None:
    _end(entry, job_pb2.ENTRY_STATE_CANCELLED, event.time)
    entry.reason = event.entry_cancelled.reason


def _skip(entry: job_pb2.Entry, event: job_pb2.Event) -> None:
    _end(entry, job_pb2.ENTRY_STATE_SKIPPED, event.time)
    entry.reason = event.entry_skipped.reason


def _reuse(entry: job_pb2.Entry, event: job_pb2.Event) -> None:
    _end(entry, job_pb2.ENTRY_STATE_SUCCEEDED, event.time)
    entry.reason = describe_reuse(event.entry_reused)


def describe_reuse(change: job_pb2.EntryReused) -> str:
    """Say why an entry need not run, in the daemon's own words."""
    return f"it succeeded in job {change.job_id}"


def _end(entry: job_pb2.Entry, state: job_pb2.EntryState.ValueType, time: Timestamp) -> None:
    entry.state = state
    entry.reason = ""
    entry.end_time.CopyFrom(time)


def _publish(artifact: job_pb2.Artifact, event: job_pb2.Event) -> None:
    artifact.state = job_pb2.ARTIFACT_STATE_PRESENT
    artifact.size_bytes = event.artifact_published.size_bytes
    artifact.folder = event.artifact_published.folder


def _remove(artifact: job_pb2.Artifact, event: job_pb2.Event) -> None:
    artifact.state = job_pb2.ARTIFACT_STATE_REMOVED
    artifact.reason = event.artifact_removed.reason


_ENTRY_CHANGES: dict[str, Callable[[job_pb2.Entry, job_pb2.Event], None]] = {
    "entry_waiting": _wait,
    "entry_started": _start,
    "entry_progress": _progress,
    "entry_retrying": _retry,
    "entry_succeeded": _succeed,
    "entry_failed": _fail,
    "entry_cancelled": _cancel,
    "entry_skipped": _skip,
    "entry_reused": _reuse,
}
_ARTIFACT_CHANGES: dict[str, Callable[[job_pb2.Artifact, job_pb2.Event], None]] = {
    "artifact_published": _publish,
    "artifact_removed": _remove,
}
