"""What the daemon itself does at Prefect: it hears of cancels asked for there, and ends the runs of dead runners."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable

from structlog.typing import FilteringBoundLogger

from jobd.backoff import delay_before
from jobd.errors import PrefectApiError
from jobd.prefect_api import PrefectApi, StateType
from jobd.prefect_status import Prefect
from jobd.store import Store

_LOOK_SECONDS = 2.0
"""How often runs that were cancelled in the dashboard are looked for, while jobs run."""
_TRIES = 8

_FINAL = frozenset({StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED})

Cancel = Callable[[str, str], Awaitable[object]]


class Dashboard:
    """The daemon's own calls to Prefect. That one fails harms nothing but the dashboard."""

    def __init__(self, *, prefect: Prefect, store: Store, auth: str, key: str, log: FilteringBoundLogger) -> None:
        """Take the server, and how to be let in."""
        self._prefect = prefect
        self._store = store
        self._api = PrefectApi(prefect.api_url, auth=auth, key=key)
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()

    async def watch_cancels(self, cancel: Cancel) -> None:
        """Call `cancel` with each job whose run is cancelled in the dashboard, and a reason; until cancelled itself."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if not self._prefect.status.ready or not self._store.live():
                continue
            try:
                for run in await self._api.cancelling_runs():
                    job = self._store.live_job(run.job_id or "")
                    if job is not None and job.flow_run_id == str(run.id):
                        await cancel(job.id, "it was cancelled in Prefect's dashboard")
            except PrefectApiError as error:
                self._log.debug("cancels_not_read", error=error.message)

    def abandon(self, flow_run_id: str) -> None:
        """End, as Crashed and some time soon, the run of a runner that died, with whatever it left open."""
        if flow_run_id:
            task = asyncio.create_task(self._abandon(uuid.UUID(flow_run_id)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop, and close the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._api.close()

    async def _abandon(self, run_id: uuid.UUID) -> None:
        for failures in range(1, _TRIES + 1):
            await self._prefect.wait_ready()
            try:
                await self._crash(run_id)
            except PrefectApiError as error:
                self._log.warning("run_not_ended", flow_run=str(run_id), error=error.message)
                await asyncio.sleep(delay_before(failures))
            else:
                return

    async def _crash(self, run_id: uuid.UUID) -> None:
        message = "its runner died"
        for task_run in await self._api.task_runs(run_id):
            if task_run.state_type not in _FINAL:
                await self._api.set_task_run_state(task_run.id, StateType.CRASHED, message=message, force=True)
        if (await self._api.flow_run(run_id)).state_type not in _FINAL:
            await self._api.set_flow_run_state(run_id, StateType.CRASHED, message=message, force=True)
