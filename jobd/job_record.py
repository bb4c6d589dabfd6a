"""What Prefect's record of an ended job is to say, as plain data: what the daemon asks the recorder for, and hears."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from jobd.jobs import Entry, Job
from jobd.prefect_api import StateType
from jobd.states import EntryState, JobState

_JOB_TYPES: Mapping[JobState, StateType] = {
    JobState.SUCCEEDED: StateType.COMPLETED,
    JobState.FAILED: StateType.FAILED,
    JobState.CANCELLED: StateType.CANCELLED,
}
_ENTRY_TYPES: Mapping[EntryState, StateType] = {
    EntryState.SUCCEEDED: StateType.COMPLETED,
    EntryState.FAILED: StateType.FAILED,
    EntryState.CANCELLED: StateType.CANCELLED,
}
"""Entries that never ran need no task run."""


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def line(self) -> bytes:
        """Give it as a line."""
        return self.model_dump_json().encode() + b"\n"


class EntryRecord(_Line):
    """The task run of an entry that ran."""

    name: str
    step: str
    state_type: StateType
    message: str


class JobRecord(_Line):
    """The flow run of a job that has ended, and its task runs."""

    kind: Literal["record"] = "record"
    id: str
    """The job's."""
    name: str
    version: str
    flow_run_id: str
    """The flow run that is known of it; empty for a job that ran without."""
    started: float | None
    ended: float
    """In seconds since the epoch, both."""
    state_type: StateType
    message: str
    entries: tuple[EntryRecord, ...]


class Server(_Line):
    """Which server it is about: the first words to a recorder."""

    kind: Literal["server"] = "server"
    api_url: str
    auth: str
    key: str


class Compared(_Line):
    """What a recorder found."""

    flow_run_id: str = ""
    """The job's flow run, once the record is complete; empty while it may yet become so by itself."""
    repaired: bool = False
    """Whether something had to be written down."""
    error: str = ""
    """Why it could not look."""


TO_RECORDER: TypeAdapter[JobRecord | Server] = TypeAdapter(Annotated[JobRecord | Server, Field(discriminator="kind")])
FROM_RECORDER = TypeAdapter(Compared)


def wanted_record(job: Job) -> JobRecord:
    """Say what the record of an ended job is to be."""
    message = job.failure.message if job.failure else job.reason
    return JobRecord(
        id=job.id,
        name=job.name,
        version=job.version,
        flow_run_id=job.flow_run_id,
        started=job.started,
        ended=job.ended or 0.0,
        state_type=_JOB_TYPES[job.state],
        message=_with_times(message, job.started, job.ended),
        entries=tuple(_entry(entry) for entry in job.entries if entry.state in _ENTRY_TYPES and entry.attempt),
    )


def _entry(entry: Entry) -> EntryRecord:
    message = entry.failure.message if entry.failure else entry.reason
    return EntryRecord(
        name=f"{entry.step}/{entry.name}",
        step=entry.step,
        state_type=_ENTRY_TYPES[entry.state],
        message=_with_times(message, entry.started, entry.ended),
    )


def _with_times(message: str, started: float | None, ended: float | None) -> str:
    """Add the true times: Prefect dates a state by when it is told of it."""
    times = [datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds") for time in (started, ended) if time]
    return " ".join(filter(None, (message, f"(ran {' to '.join(times)}; recorded afterwards)" if times else "")))
