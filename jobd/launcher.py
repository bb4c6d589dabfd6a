"""From the queue to a runner: a job waits for capacity and for Prefect, is told what to do, and is forked."""

import asyncio
import secrets
from collections.abc import Iterable
from time import monotonic, time

from structlog.typing import FilteringBoundLogger

from jobd import endings, events
from jobd.containment import NOTHING_ASKED, Containment
from jobd.errors import PrefectApiError, is_disk_full
from jobd.events import JobEvent, Occurrence
from jobd.failpoints import failpoint
from jobd.flow_runs import FlowRuns
from jobd.jobs import Job
from jobd.layout import StateDirectory, write_durably
from jobd.messages import Assignment, FlowRunId, FlowRunMade, Fork
from jobd.nursery_client import NurseryClient
from jobd.plan import Plan, Resources
from jobd.prefect_status import Prefect
from jobd.scheduler import Scheduler
from jobd.states import TERMINAL_ENTRY_STATES, ArtifactState, EntryState, JobState
from jobd.store import Store

_WAIT_SECONDS = 0.5
"""How often a job that waits for Prefect is told why."""
_MAKE_SECONDS = 15.0
"""For how long a start waits for Prefect to make its flow run."""
_FULL_SECONDS = 5.0
"""How often it is tried again to start a job when the disk is full."""


class Launcher:
    """Starts jobs. It knows which were started, and which must not be any more."""

    def __init__(
        self,
        *,
        state: StateDirectory,
        store: Store,
        scheduler: Scheduler,
        prefect: Prefect,
        prefect_grace: float,
        cpus: float,
        containment: Containment | None = None,
        flow_runs: FlowRuns | None = None,
        log: FilteringBoundLogger,
    ) -> None:
        """Prepare; `nursery` is set before anything is asked of it."""
        self.nursery: NurseryClient
        self.launched: dict[str, float] = {}
        """When each job that has, or may have, a runner was given it, on the monotonic clock."""
        self.cancelled: set[str] = set()
        """Jobs that must not be started any more."""
        self._state = state
        self._store = store
        self._scheduler = scheduler
        self._prefect = prefect
        self._prefect_grace = prefect_grace
        self._cpus = cpus
        self._containment = containment or NOTHING_ASKED
        self._flow_runs = flow_runs
        self._log = log

    async def know(self, job: Job) -> None:
        """Make a job known to the scheduler, with its age."""
        number = await asyncio.to_thread(self._store.number, job.id)
        waited = max(0.0, time() - job.submitted)
        self._scheduler.know(job.id, priority=job.priority, number=number, waited=waited)

    async def queue(self, job: Job) -> None:
        """Let a job that has no runner wait for its start."""
        await self.know(job)
        plan = await asyncio.to_thread(self._store.plan, job.id)
        now = self._store.live_job(job.id)
        if now is not None and job.id not in self.cancelled:
            self._scheduler.want_start(job.id, _first_wish(plan, now))
            if self._scheduler.waits(job.id):
                await self._say_waiting(job.id, self._scheduler.held_back or "it waits for capacity")
        else:
            self._scheduler.forget(job.id)  # it was cancelled before it was known

    async def launch(self, job_id: str) -> None:
        """Give a job, for which there is capacity now, its runner."""
        ready = await self._await_prefect(job_id)
        job = self._store.live_job(job_id)
        if job is None or job_id in self.cancelled:
            return
        name = secrets.token_hex(8)
        # Made meanwhile: these are the first calls that the runner would make, and each takes tens of milliseconds.
        making = asyncio.create_task(self._make_flow_run(job, name, ready=ready))
        try:
            await self._write_when_room(job, name)
        except OSError as error:
            self._log.exception("assignment_not_written", job=job_id)
            ending = occurring(endings.failed(job, f"its folder cannot be written: {error}"))
            await asyncio.wrap_future(self._store.decide(job_id, lambda _job: ending))
            self._scheduler.forget(job_id)
            making.cancel()
            return
        failpoint("launch.assigned")
        if job_id in self.cancelled or self._store.live_job(job_id) is None:
            making.cancel()
            return  # it was cancelled meanwhile
        self.launched[job_id] = monotonic()
        await self.nursery.fork(Fork(job_id=job_id, launch=name, plain=not ready, flow_run_follows=ready))
        failpoint("launch.forked")
        if ready:
            # The runner gets ready until then: it takes its lock, reads its plan, finds the daemon.
            await self.nursery.tell(FlowRunMade(job_id=job_id, launch=name, flow_run=await making))

    async def _await_prefect(self, job_id: str) -> bool:
        """Wait until a job can run; tell whether Prefect can be had, for which it waits no longer than the grace."""
        accepted = monotonic() - self._age(job_id)
        while job_id not in self.cancelled:
            status = self._prefect.status
            # Of one outage nobody waits for more than one grace, and no job behind others that wait: what is set aside
            # for those that start is what those that run do without.
            since = max(accepted, min(status.away_since, monotonic()))
            if self.nursery.ready and (status.ready or monotonic() - since >= self._prefect_grace):
                break
            reason = "the nursery of runners is starting" if status.ready else status.reason.partition(" (")[0]
            await self._say_waiting(job_id, reason)
            ready = [asyncio.create_task(wait()) for wait in (self._prefect.wait_ready, self.nursery.wait_ready)]
            await asyncio.wait(ready, timeout=_WAIT_SECONDS, return_when=asyncio.ALL_COMPLETED)
            for task in ready:
                task.cancel()
        return self._prefect.status.ready

    def _age(self, job_id: str) -> float:
        """Tell how many seconds ago a job was accepted."""
        job = self._store.live_job(job_id)
        return max(0.0, time() - job.submitted) if job else 0.0

    async def _make_flow_run(self, job: Job, launch: str, *, ready: bool) -> FlowRunId | None:
        """Make the flow run, unless Prefect is away or slow; the runner tries for itself then, or does without."""
        if not ready or self._flow_runs is None:
            return None
        try:
            async with asyncio.timeout(_MAKE_SECONDS):
                made = await self._flow_runs.make(job, key=launch)
        except (PrefectApiError, TimeoutError) as error:
            self._log.warning("flow_run_not_made", job=job.id, error=str(error) or type(error).__name__)
            return None
        return FlowRunId(id=made.id, flow_id=made.flow_id)

    async def _write_when_room(self, job: Job, name: str) -> None:
        """Write the assignment, as soon as the disk has room for it; OSError when it refuses for another reason."""
        while job.id not in self.cancelled:
            try:
                await asyncio.to_thread(self._write_assignment, job, name)
            except OSError as error:
                if not is_disk_full(error):
                    raise
                self._log.warning("assignment_waits", job=job.id, error=str(error))
                await asyncio.sleep(_FULL_SECONDS)
            else:
                return

    async def _say_waiting(self, job_id: str, reason: str) -> None:
        def decision(job: Job) -> list[Occurrence]:
            if job.state is not JobState.QUEUED or job.reason == reason:
                return []
            return occurring([events.JobWaiting(reason=reason)])

        await asyncio.wrap_future(self._store.decide(job_id, decision))

    def _write_assignment(self, job: Job, name: str) -> None:
        failpoint("launch.writing")
        directory = self._state.job(job.id)
        for folder in (directory.artifacts, directory.work, directory.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not directory.plan.exists():
            write_durably(directory.plan, self._store.plan(job.id).model_dump_json().encode())
        assignment = _assignment(job, self._cpus, name, self._containment)
        write_durably(directory.assignment, assignment.model_dump_json().encode())


def occurring(happened: Iterable[JobEvent]) -> list[Occurrence]:
    """Say that events happen now."""
    now = time()
    return [Occurrence(time=now, event=event) for event in happened]


def _first_wish(plan: Plan, job: Job) -> Resources:
    """Give what the first entry that is still to run will ask for."""
    for step in plan.steps:
        for entry in step.entries:
            if job.entry(entry.step, entry.name).state is not EntryState.SUCCEEDED:
                return entry.resources
    return Resources(cpus=0)


def _assignment(job: Job, cpus: float, name: str, containment: Containment) -> Assignment:
    return Assignment(
        job_id=job.id,
        launch=name,
        cpus=cpus,
        started=job.started,
        finished=tuple((entry.step, entry.name) for entry in job.entries if entry.state is EntryState.SUCCEEDED),
        ended=tuple(
            (entry.step, entry.name, entry.state)
            for entry in job.entries
            if entry.state in TERMINAL_ENTRY_STATES and entry.state is not EntryState.SUCCEEDED
        ),
        failure=next((entry.failure for entry in job.entries if entry.failure is not None), None),
        attempts=tuple((entry.step, entry.name, entry.attempt) for entry in job.entries if entry.attempt),
        present=tuple(item.name for item in job.artifacts if item.state is ArtifactState.PRESENT),
        containment=containment,
    )
