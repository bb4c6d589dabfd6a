"""A process of its own that makes Prefect's record of ended jobs equal ours.

What Prefect missed is written down, and what it left open is ended. It speaks to Prefect's REST API only, knows
nothing of the store, and may be killed at any time. It obeys the daemon over its standard input, a line for each
job, and ends when that is closed.
"""

import asyncio
import sys
import uuid
from collections.abc import Iterable
from time import time

from jobd.errors import PrefectApiError
from jobd.flow_runs import FlowRuns
from jobd.job_record import TO_RECORDER, Compared, JobRecord, Server
from jobd.prefect_api import FlowRun, PrefectApi, StateType, TaskRun

_SETTLE_SECONDS = 30.0
"""Prefect's server writes down task runs some seconds after they were told; only then is anything missing."""

FINAL = frozenset({StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED})


def main() -> None:
    """Answer until the daemon hangs up."""
    server = TO_RECORDER.validate_json(sys.stdin.buffer.readline() or b"null")
    if not isinstance(server, Server):
        raise SystemExit("the first line is to name the server")
    with asyncio.Runner() as loop:
        recorder = loop.run(_open(server))
        for line in sys.stdin.buffer:
            record = TO_RECORDER.validate_json(line)
            assert isinstance(record, JobRecord)
            sys.stdout.buffer.write(loop.run(_answer(recorder, record)).line())
            sys.stdout.buffer.flush()


async def _open(server: Server) -> "Recorder":
    # Its connections belong to the loop that is running.
    return Recorder(PrefectApi(server.api_url, auth=server.auth, key=server.key))


async def _answer(recorder: "Recorder", record: JobRecord) -> Compared:
    try:
        return await recorder.complete(record)
    except PrefectApiError as error:
        return Compared(error=error.message)


class Recorder:
    """Compares and repairs, one job at a time."""

    def __init__(self, api: PrefectApi) -> None:
        """Speak to one server."""
        self._api = api
        self._flow_runs = FlowRuns(api)

    async def complete(self, record: JobRecord) -> Compared:
        """Compare one job's record, and repair it once it will not become complete by itself."""
        runs = await self._api.flow_runs(record.id)
        current = next((run for run in runs if str(run.id) == record.flow_run_id), None) or (runs[0] if runs else None)
        task_runs = await self._api.task_runs(current.id) if current else ()
        others = [run for run in runs if current and run.id != current.id and run.state_type not in FINAL]
        if current and not others and _agree(record, current, task_runs):
            return Compared(flow_run_id=str(current.id))
        # Nothing is under way of a job that ran without Prefect.
        if (runs or record.flow_run_id) and time() - record.ended <= _SETTLE_SECONDS:
            return Compared()
        for run in others:
            await self._crash(run.id)
        run_id = current.id if current else await self._make_flow_run(record)
        await self._repair_task_runs(record, run_id, task_runs)
        if current is None or current.state_type != record.state_type:
            await self._api.set_flow_run_state(run_id, record.state_type, message=record.message, force=True)
        return Compared(flow_run_id=str(run_id), repaired=True)

    async def _crash(self, run_id: uuid.UUID) -> None:
        """End the run of a runner that died as Crashed, with whatever it left open."""
        message = "its runner died"
        for task_run in await self._api.task_runs(run_id):
            if task_run.state_type not in FINAL:
                await self._api.set_task_run_state(task_run.id, StateType.CRASHED, message=message, force=True)
        if (await self._api.flow_run(run_id)).state_type not in FINAL:
            await self._api.set_flow_run_state(run_id, StateType.CRASHED, message=message, force=True)

    async def _make_flow_run(self, record: JobRecord) -> uuid.UUID:
        run_id = (await self._flow_runs.make(record, key="recorded")).id
        if record.started is not None:
            await self._api.set_flow_run_state(run_id, StateType.RUNNING, force=True)
        return run_id

    async def _repair_task_runs(self, record: JobRecord, run_id: uuid.UUID, found: Iterable[TaskRun]) -> None:
        by_name = {run.name: run for run in found}
        for entry in record.entries:
            run = by_name.pop(entry.name, None)
            if run is None or run.state_type is not entry.state_type:
                task_run_id = run.id if run else await self._api.make_task_run(run_id, name=entry.name, step=entry.step)
                await self._api.set_task_run_state(task_run_id, entry.state_type, message=entry.message, force=True)
        for run in by_name.values():
            if run.state_type not in FINAL:
                await self._api.set_task_run_state(
                    run.id, StateType.CANCELLED, name="Skipped", message="it never ran", force=True
                )


def _agree(record: JobRecord, run: FlowRun, task_runs: Iterable[TaskRun]) -> bool:
    found = {task_run.name: task_run.state_type for task_run in task_runs}
    return (
        run.state_type is record.state_type
        and all(state in FINAL for state in found.values())
        and all(found.get(entry.name) is entry.state_type for entry in record.entries)
    )


if __name__ == "__main__":
    main()
