"""Makes Prefect's record of ended jobs equal ours: what it missed is written down, what it left open is ended.

It speaks to Prefect's REST API only. Nothing waits for it: a broken dashboard harms no job.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from time import time

from structlog.typing import FilteringBoundLogger

from jobd.backoff import delay_before
from jobd.errors import JobNotFoundError, PrefectApiError
from jobd.flow_runs import FlowRuns
from jobd.jobs import Entry, Job
from jobd.prefect_api import FlowRun, PrefectApi, StateType, TaskRun
from jobd.prefect_status import Prefect
from jobd.states import EntryState, JobState
from jobd.store import Store

_LOOK_SECONDS = 2.0
_AGAIN_SECONDS = 5.0
"""How long a record that may yet become complete by itself is left alone."""
_SETTLE_SECONDS = 30.0
"""Prefect's server writes down task runs some seconds after they were told; only then is anything missing."""
_AT_ONCE = 20
"""Jobs that are looked at in one round."""
_IN_VIEW = 1000
"""Jobs among which those are chosen that are due: ones that fail again and again must not hide the others."""

FINAL = frozenset({StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED})

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


class Recorder:
    """Goes through the ended jobs whose record is not known to be complete, oldest first."""

    def __init__(
        self, *, prefect: Prefect, api: PrefectApi, flow_runs: FlowRuns, store: Store, log: FilteringBoundLogger
    ) -> None:
        """Compare `store` with what `api` tells."""
        self._prefect = prefect
        self._api = api
        self._flow_runs = flow_runs
        self._store = store
        self._log = log
        self._failures: dict[str, int] = {}
        self._due: dict[str, float] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        nothing_at = -1  # no job was left to look at when the store had had so many commits
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            commits = self._store.commits
            if self._prefect.status.ready and commits != nothing_at:
                ended = await asyncio.to_thread(self._store.unrecorded, _IN_VIEW)
                nothing_at = -1 if ended else commits
                due = [job_id for job_id in ended if self._due.get(job_id, 0.0) <= time()]
                for job_id in due[:_AT_ONCE]:
                    with contextlib.suppress(JobNotFoundError):  # deleted in between
                        await self._look(await asyncio.to_thread(self._store.get, job_id))

    async def _look(self, job: Job) -> None:
        try:
            flow_run_id = await self._complete(job)
        except PrefectApiError as error:
            failures = self._failures[job.id] = self._failures.get(job.id, 0) + 1
            self._due[job.id] = time() + delay_before(failures, first=5.0, most=300.0)
            self._log.warning("record_not_repaired", job=job.id, error=error.message)
            return
        if flow_run_id is None:
            self._due[job.id] = time() + _AGAIN_SECONDS
        else:
            await asyncio.wrap_future(self._store.mark_recorded(job.id, flow_run_id))
            self._failures.pop(job.id, None)
            self._due.pop(job.id, None)

    async def _complete(self, job: Job) -> str | None:
        """Compare and repair one job's record; give its flow run once it is complete, None while it may yet come."""
        runs = await self._api.flow_runs(job.id)
        current = next((run for run in runs if str(run.id) == job.flow_run_id), None) or (runs[0] if runs else None)
        task_runs = await self._api.task_runs(current.id) if current else ()
        # Nothing is under way of a job that ran without Prefect.
        settled = not (runs or job.flow_run_id) or time() - (job.ended or 0.0) > _SETTLE_SECONDS
        others = [run for run in runs if current and run.id != current.id and run.state_type not in FINAL]
        if current and not others and _agree(job, current, task_runs):
            return str(current.id)
        if not settled:
            return None
        self._log.info("record_repaired", job=job.id, flow_run=str(current.id) if current else "made anew")
        for run in others:
            await self.crash(run.id)
        run_id = current.id if current else await self._make_flow_run(job)
        await self._repair_task_runs(job, run_id, task_runs)
        if current is None or current.state_type != _JOB_TYPES[job.state]:
            await self._api.set_flow_run_state(run_id, _JOB_TYPES[job.state], message=_job_end(job), force=True)
        return str(run_id)

    async def crash(self, run_id: uuid.UUID) -> None:
        """End the run of a runner that died as Crashed, with whatever it left open."""
        message = "its runner died"
        for task_run in await self._api.task_runs(run_id):
            if task_run.state_type not in FINAL:
                await self._api.set_task_run_state(task_run.id, StateType.CRASHED, message=message, force=True)
        if (await self._api.flow_run(run_id)).state_type not in FINAL:
            await self._api.set_flow_run_state(run_id, StateType.CRASHED, message=message, force=True)

    async def _make_flow_run(self, job: Job) -> uuid.UUID:
        run_id = (await self._flow_runs.make(job, key="recorded")).id
        if job.started is not None:
            await self._api.set_flow_run_state(run_id, StateType.RUNNING, force=True)
        return run_id

    async def _repair_task_runs(self, job: Job, run_id: uuid.UUID, found: Iterable[TaskRun]) -> None:
        by_name = {run.name: run for run in found}
        for entry in _recorded_entries(job):
            name = f"{entry.step}/{entry.name}"
            run, state = by_name.pop(name, None), _ENTRY_TYPES[entry.state]
            if run is None or run.state_type is not state:
                task_run_id = run.id if run else await self._api.make_task_run(run_id, name=name, step=entry.step)
                await self._api.set_task_run_state(task_run_id, state, message=_entry_end(entry), force=True)
        for run in by_name.values():
            if run.state_type not in FINAL:
                await self._api.set_task_run_state(
                    run.id, StateType.CANCELLED, name="Skipped", message="it never ran", force=True
                )


def _agree(job: Job, run: FlowRun, task_runs: Iterable[TaskRun]) -> bool:
    found = {task_run.name: task_run.state_type for task_run in task_runs}
    return (
        run.state_type is _JOB_TYPES[job.state]
        and all(state in FINAL for state in found.values())
        and all(
            found.get(f"{entry.step}/{entry.name}") is _ENTRY_TYPES[entry.state] for entry in _recorded_entries(job)
        )
    )


def _recorded_entries(job: Job) -> list[Entry]:
    return [entry for entry in job.entries if entry.state in _ENTRY_TYPES and entry.attempt]


def _job_end(job: Job) -> str:
    message = job.failure.message if job.failure else job.reason
    return _with_times(message, job.started, job.ended)


def _entry_end(entry: Entry) -> str:
    message = entry.failure.message if entry.failure else entry.reason
    return _with_times(message, entry.started, entry.ended)


def _with_times(message: str, started: float | None, ended: float | None) -> str:
    """Add the true times: Prefect dates a state by when it is told of it."""
    times = [datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds") for time in (started, ended) if time]
    return " ".join(filter(None, (message, f"(ran {' to '.join(times)}; recorded afterwards)" if times else "")))
