"""A job, its entries and its artifacts, as they are after some of its events."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from jobd.events import Failure, Usage
from jobd.plan import Plan
from jobd.states import TERMINAL_JOB_STATES, ArtifactState, EntryState, JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One module run of a step."""

    step: str
    name: str
    module: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    state: EntryState = EntryState.PENDING
    attempt: int = 0
    """The latest attempt, from 1; 0 before the first."""
    progress: float | None = None
    """0 to 100, as the module last reported."""
    status: str = ""
    reason: str = ""
    started: float | None = None
    """When its first attempt began, in seconds since the epoch."""
    ended: float | None = None
    """When it reached a terminal state, in seconds since the epoch."""
    failure: Failure | None = None
    usage: Usage | None = None
    """Of its last attempt that ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file or folder that the job takes or makes."""

    name: str
    type: str
    public: bool
    step: str = ""
    entry: str = ""
    state: ArtifactState = ArtifactState.PENDING
    size_bytes: int = 0
    folder: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job after its first `sequence` events."""

    id: str
    name: str
    version: str
    labels: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    """Who submitted it; empty where that is not known."""
    priority: int = 0
    submitted: float = 0.0
    state: JobState = JobState.QUEUED
    reason: str = ""
    started: float | None = None
    ended: float | None = None
    failure: Failure | None = None
    flow_run_id: str = ""
    retry_of: str = ""
    """The job of which this one is a retry."""
    recorded: bool = False
    """Whether Prefect's record of it is known to be complete."""
    sequence: int = 0
    recoveries: int = 0
    """How often a new runner took it on."""
    entry_count: int = 0
    ended_entry_count: int = 0
    entries: tuple[Entry, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    places: Mapping[tuple[str, str], int] = field(default_factory=dict, repr=False, compare=False)
    """Where in `entries` an entry stands, by step and name."""
    artifact_places: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)
    """Where in `artifacts` an artifact stands, by name."""

    @property
    def terminal(self) -> bool:
        """Tell whether the job has ended."""
        return self.state in TERMINAL_JOB_STATES

    def entry(self, step: str, name: str) -> Entry:
        """Find an entry; KeyError when there is none."""
        return self.entries[self.places[step, name]]

    def artifact(self, name: str) -> Artifact:
        """Find an artifact; KeyError when there is none."""
        return self.artifacts[self.artifact_places[name]]


def new_job(job_id: str, plan: Plan, *, submitted: float, retry_of: str = "") -> Job:
    """Make the job that a plan describes, before its first event."""
    entries = tuple(
        Entry(
            step=step.name,
            name=entry.name,
            module=entry.module,
            inputs=tuple(name for binding in entry.inputs for name in binding.artifacts),
            outputs=tuple(name for binding in entry.outputs for name in binding.artifacts),
        )
        for step in plan.steps
        for entry in step.entries
    )
    artifacts = tuple(
        Artifact(name=item.name, type=item.type, public=item.public, step=item.step, entry=item.entry)
        for item in plan.artifacts
    )
    job = Job(
        id=job_id,
        name=plan.name,
        version=plan.version,
        labels=dict(plan.labels),
        priority=plan.priority,
        submitted=submitted,
        retry_of=retry_of,
        entry_count=len(entries),
    )
    return with_parts(job, entries, artifacts)


def with_parts(job: Job, entries: tuple[Entry, ...], artifacts: tuple[Artifact, ...]) -> Job:
    """Give a job its entries and artifacts, and the tables to find them by."""
    return replace(
        job,
        entries=entries,
        artifacts=artifacts,
        places=MappingProxyType({(entry.step, entry.name): place for place, entry in enumerate(entries)}),
        artifact_places=MappingProxyType({artifact.name: place for place, artifact in enumerate(artifacts)}),
    )
