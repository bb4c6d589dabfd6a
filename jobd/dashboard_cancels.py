"""Hearing of cancels that were asked for in Prefect's dashboard."""

import asyncio
from collections.abc import Awaitable, Callable

from structlog.typing import FilteringBoundLogger

from jobd.errors import PrefectApiError
from jobd.prefect_api import PrefectApi
from jobd.prefect_status import Prefect
from jobd.store import Store

_LOOK_SECONDS = 2.0

Cancel = Callable[[str, str], Awaitable[object]]


async def watch_cancels(
    *, prefect: Prefect, api: PrefectApi, store: Store, cancel: Cancel, log: FilteringBoundLogger
) -> None:
    """Call `cancel` with each job whose run is cancelled in the dashboard, and a reason; until cancelled itself."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if not prefect.status.ready or not store.live_count():
            continue
        try:
            runs = await api.cancelling_runs()
        except PrefectApiError as error:
            log.debug("cancels_not_read", error=error.message)
            continue
        for run in runs:
            job = store.live_job(run.job_id or "")
            if job is not None and job.flow_run_id == str(run.id):
                await cancel(job.id, "it was cancelled in Prefect's dashboard")
