"""The whole vocabulary of what can happen to a job.

These are written to journals and to the store and live there for years: fields may be added with a default,
never renamed, never given another meaning.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class FailureKind(StrEnum):
    """Why something failed."""

    EXIT_CODE = "exit_code"
    SIGNAL = "signal"
    TIMEOUT = "timeout"
    MISSING_OUTPUT = "missing_output"
    INVALID_OUTPUT = "invalid_output"
    MODULE = "module"
    SPAWN = "spawn"
    OUT_OF_MEMORY = "out_of_memory"
    SYSTEM = "system"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Failure(_Frozen):
    """Why an entry, and with it a job, failed."""

    kind: FailureKind
    message: str
    step: str = ""
    entry: str = ""
    exit_code: int | None = None
    signal: int | None = None
    log_tail: tuple[str, ...] = ()


class Usage(_Frozen):
    """What an attempt used of the machine."""

    cpu_seconds: float
    """Processor time of its processes, of all cpus together."""
    max_rss_bytes: int | None = None
    """The most memory that the largest of its processes held at once; None where it is not known."""


class JobSubmitted(_Frozen):
    """The job was accepted."""

    kind: Literal["job_submitted"] = "job_submitted"
    owner: str = ""
    """Who submitted it; empty where that is not known."""


class JobWaiting(_Frozen):
    """The job waits in the queue."""

    kind: Literal["job_waiting"] = "job_waiting"
    reason: str


class JobStarted(_Frozen):
    """The job's flow run began; after a recovery, again."""

    kind: Literal["job_started"] = "job_started"
    flow_run_id: str


class JobRecovering(_Frozen):
    """The job's runner died; entries that had not ended go back to pending."""

    kind: Literal["job_recovering"] = "job_recovering"
    reason: str


class JobCancelling(_Frozen):
    """A cancel was accepted."""

    kind: Literal["job_cancelling"] = "job_cancelling"
    reason: str


class JobSucceeded(_Frozen):
    """Terminal: every entry succeeded."""

    kind: Literal["job_succeeded"] = "job_succeeded"


class JobFailed(_Frozen):
    """Terminal: the job failed."""

    kind: Literal["job_failed"] = "job_failed"
    failure: Failure


class JobCancelled(_Frozen):
    """Terminal: the job was cancelled and nothing of it lives."""

    kind: Literal["job_cancelled"] = "job_cancelled"
    reason: str


class StepStarted(_Frozen):
    """A step began; after a recovery, again."""

    kind: Literal["step_started"] = "step_started"
    step: str


class StepSucceeded(_Frozen):
    """Every entry of a step succeeded."""

    kind: Literal["step_succeeded"] = "step_succeeded"
    step: str


class EntryWaiting(_Frozen):
    """An entry waits for capacity."""

    kind: Literal["entry_waiting"] = "entry_waiting"
    step: str
    entry: str


class EntryStarted(_Frozen):
    """An attempt of an entry began: its module's process runs."""

    kind: Literal["entry_started"] = "entry_started"
    step: str
    entry: str
    attempt: int
    pid: int


class EntryProgress(_Frozen):
    """A module reported its progress (0 to 100) or its status."""

    kind: Literal["entry_progress"] = "entry_progress"
    step: str
    entry: str
    percent: float | None = None
    status: str | None = None


class EntryRetrying(_Frozen):
    """An attempt failed; another follows after `delay_seconds`."""

    kind: Literal["entry_retrying"] = "entry_retrying"
    step: str
    entry: str
    attempt: int
    failure: Failure
    delay_seconds: float
    usage: Usage | None = None


class EntrySucceeded(_Frozen):
    """An entry succeeded: exit code 0, every output present and whole."""

    kind: Literal["entry_succeeded"] = "entry_succeeded"
    step: str
    entry: str
    attempt: int
    usage: Usage | None = None


class EntryFailed(_Frozen):
    """An entry failed; no attempt follows."""

    kind: Literal["entry_failed"] = "entry_failed"
    step: str
    entry: str
    attempt: int
    failure: Failure
    usage: Usage | None = None


class EntryCancelled(_Frozen):
    """An entry was ended by a cancel; nothing of it lives."""

    kind: Literal["entry_cancelled"] = "entry_cancelled"
    step: str
    entry: str
    reason: str
    usage: Usage | None = None


class EntrySkipped(_Frozen):
    """An entry will not run."""

    kind: Literal["entry_skipped"] = "entry_skipped"
    step: str
    entry: str
    reason: str


class ArtifactPublished(_Frozen):
    """An artifact is on disk, whole."""

    kind: Literal["artifact_published"] = "artifact_published"
    name: str
    size_bytes: int
    folder: bool = False


class ArtifactRemoved(_Frozen):
    """An artifact was removed from disk."""

    kind: Literal["artifact_removed"] = "artifact_removed"
    name: str
    reason: str


class EntryReused(_Frozen):
    """An entry need not run: it succeeded in the job that this one retries."""

    kind: Literal["entry_reused"] = "entry_reused"
    step: str
    entry: str
    job_id: str


JobEvent = (
    JobSubmitted
    | JobWaiting
    | JobStarted
    | JobRecovering
    | JobCancelling
    | JobSucceeded
    | JobFailed
    | JobCancelled
    | StepStarted
    | StepSucceeded
    | EntryWaiting
    | EntryStarted
    | EntryProgress
    | EntryRetrying
    | EntrySucceeded
    | EntryFailed
    | EntryCancelled
    | EntrySkipped
    | ArtifactPublished
    | ArtifactRemoved
    | EntryReused
)

EntryEvent = (
    EntryWaiting
    | EntryStarted
    | EntryProgress
    | EntryRetrying
    | EntrySucceeded
    | EntryFailed
    | EntryCancelled
    | EntrySkipped
    | EntryReused
)
"""What changes one entry."""

JOB_EVENT: TypeAdapter[JobEvent] = TypeAdapter(Annotated[JobEvent, Field(discriminator="kind")])
"""Reads an event of any kind."""


class Occurrence(_Frozen):
    """An event and when it happened, before it has its place in the job's history."""

    time: float
    """Seconds since the epoch."""
    event: Annotated[JobEvent, Field(discriminator="kind")]


class Record(_Frozen):
    """An event in its place in the job's history."""

    sequence: int
    """1, 2, 3 … without a gap within a job."""
    time: float
    """Seconds since the epoch."""
    event: Annotated[JobEvent, Field(discriminator="kind")]
