"""A state directory with jobs in it, as a daemon and its runners leave them."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import structlog
from structlog.testing import LogCapture

from jobd import events
from jobd.events import Failure, FailureKind, JobEvent, Occurrence
from jobd.jobs import Job, new_job
from jobd.journal import Journal
from jobd.layout import JobDirectory, StateDirectory
from jobd.plan import Plan
from jobd.store import Acceptance, Store

FAILURE = Failure(kind=FailureKind.EXIT_CODE, message="it exited with code 3", exit_code=3)

RUN: tuple[JobEvent, ...] = (
    events.JobStarted(flow_run_id="run-1"),
    events.StepStarted(step="one"),
    events.EntryWaiting(step="one", entry="a"),
    events.EntryStarted(step="one", entry="a", attempt=1, pid=7),
    events.ArtifactPublished(name="mid.txt", size_bytes=5),
    events.EntrySucceeded(step="one", entry="a", attempt=1),
    events.StepStarted(step="two"),
    events.EntryWaiting(step="two", entry="b"),
    events.EntryStarted(step="two", entry="b", attempt=1, pid=8),
)
SUCCEEDED: tuple[JobEvent, ...] = (
    *RUN,
    events.ArtifactPublished(name="out.txt", size_bytes=6),
    events.EntrySucceeded(step="two", entry="b", attempt=1),
    events.ArtifactRemoved(name="in.txt", reason="the job has succeeded and it is not public"),
    events.ArtifactRemoved(name="mid.txt", reason="the job has succeeded and it is not public"),
    events.JobSucceeded(),
)
FAILED: tuple[JobEvent, ...] = (
    *RUN,
    events.EntryFailed(step="two", entry="b", attempt=1, failure=FAILURE),
    events.JobFailed(failure=FAILURE),
)


@dataclass
class Yard:
    """A state directory and its open store."""

    state: StateDirectory
    plan: Plan
    store: Store

    def job(self, job_id: str, happened: tuple[JobEvent, ...] = (), *, at: float = 1000.0) -> JobDirectory:
        """Make a job to which these things happen at a time, with all that they leave on disk."""
        directory = self.state.job(job_id)
        directory.artifacts.mkdir(parents=True)
        (directory.artifacts / "in.txt").write_text("in\n")
        first = [events.JobSubmitted(), events.ArtifactPublished(name="in.txt", size_bytes=3)]
        acceptance = Acceptance(
            job=new_job(job_id, self.plan, submitted=at),
            plan=self.plan,
            document=b"name: example",
            request_id="",
            request_digest="d",
            first=tuple(Occurrence(time=at, event=event) for event in first),
        )
        self.store.accept(acceptance).result(10)
        self.happen(job_id, *happened, at=at)
        return directory

    def happen(self, job_id: str, *happened: JobEvent, at: float = 1000.0) -> None:
        """Let things happen to a job as its runner would: on disk, in the journal, and then in the store."""
        directory = self.state.job(job_id)
        for event in happened:
            self._do(directory, event)
        start = self.store.journal_offset(job_id)
        occurrences = [Occurrence(time=at, event=event) for event in happened]
        with Journal(directory.journal, end=start) as journal:
            journal.append(occurrences, durable=True)
        self.store.ingest(job_id, occurrences, start=start, end=directory.journal.stat().st_size).result(10)

    def get(self, job_id: str) -> Job:
        """Give a job as its rows say."""
        return self.store.get(job_id)

    def reopen(self) -> None:
        """Open the store anew, as the next daemon does."""
        self.store.close()
        self.store = Store(self.state.database)

    @staticmethod
    def _do(directory: JobDirectory, event: JobEvent) -> None:
        if isinstance(event, events.ArtifactPublished):
            (directory.artifacts / event.name).write_bytes(b"x" * event.size_bytes)
        elif isinstance(event, events.ArtifactRemoved):
            (directory.artifacts / event.name).unlink()
        elif isinstance(event, events.EntryStarted):
            log = directory.log(event.step, event.entry, event.attempt)
            log.parent.mkdir(parents=True)
            log.write_text("the module speaks\n")


@pytest.fixture
def yard(state: StateDirectory, modules) -> Iterator[Yard]:
    """Give a state directory without jobs; its jobs make in.txt into mid.txt into out.txt, which is public."""
    one = modules.entry("", step="one", name="a", inputs=["in.txt"], outputs=["mid.txt"])
    two = modules.entry("", step="two", name="b", inputs=["mid.txt"], outputs=["out.txt"])
    plan = modules.plan(one, two, inputs=["in.txt"], public=["out.txt"])
    made = Yard(state, plan, Store(state.database))
    yield made
    made.store.close()


@pytest.fixture
def histories() -> dict[str, tuple[JobEvent, ...]]:
    """Give what happens to jobs that run, succeed and fail."""
    return {"running": RUN, "succeeded": SUCCEEDED, "failed": FAILED}


@pytest.fixture
def logged() -> Iterator[LogCapture]:
    """Catch what is logged through structlog."""
    capture = LogCapture()
    before = structlog.get_config()
    structlog.configure(processors=[capture], cache_logger_on_first_use=False)
    yield capture
    structlog.configure(**before)
