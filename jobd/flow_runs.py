"""The flow runs of jobs, as the daemon makes them: before a runner is there, or after one that could not."""

import uuid
from dataclasses import dataclass

from jobd.errors import PrefectApiError
from jobd.jobs import Job
from jobd.prefect_api import PrefectApi
from jobd.prefect_names import flow_name, flow_run_name, flow_run_tags


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeFlowRun:
    """A flow run that is Pending."""

    id: uuid.UUID
    flow_id: uuid.UUID


class FlowRuns:
    """Makes flow runs, two calls for the first of a flow and one for each later one."""

    def __init__(self, api: PrefectApi) -> None:
        """Make them by these calls."""
        self._api = api
        self._flows: dict[str, uuid.UUID] = {}

    async def make(self, job: Job, *, key: str) -> MadeFlowRun:
        """Make the flow run of a job, once for each key; PrefectApiError when the server does not."""
        name = flow_name(job.name)
        known = self._flows.get(name)
        if known is not None:
            try:
                return await self._make(job, known, key)
            except PrefectApiError:
                del self._flows[name]  # the flow may have been deleted, or the server's database with it
        self._flows[name] = flow_id = await self._api.make_flow(name)
        return await self._make(job, flow_id, key)

    async def _make(self, job: Job, flow_id: uuid.UUID, key: str) -> MadeFlowRun:
        run_id = await self._api.make_flow_run(
            flow_id,
            name=flow_run_name(job.name, job.id),
            version=job.version,
            parameters={"job_id": job.id},
            tags=flow_run_tags(job.id),
            key=f"jobd:{job.id}:{key}",
        )
        return MadeFlowRun(id=run_id, flow_id=flow_id)
