"""The flow runs of jobs, as the daemon makes them: before a runner is there, or after one that could not."""

import asyncio
import uuid
from dataclasses import dataclass
from typing import Protocol

from jobd.errors import PrefectApiError
from jobd.prefect_api import PrefectApi
from jobd.prefect_names import flow_name, flow_run_name, flow_run_tags

_PAUSES_SECONDS = (0.1, 0.4, 1.0)
"""How long its server is left alone before each retry: one that is not ours may answer 503 while many write at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeFlowRun:
    """A flow run that is Pending."""

    id: uuid.UUID
    flow_id: uuid.UUID


class OfJob(Protocol):
    """What a flow run is made of: a job, or what is known of one."""

    @property
    def id(self) -> str:
        """Give its id."""

    @property
    def name(self) -> str:
        """Give its name."""

    @property
    def version(self) -> str:
        """Give its version."""


class FlowRuns:
    """Makes flow runs, two calls for the first of a flow and one for each later one."""

    def __init__(self, api: PrefectApi) -> None:
        """Make them by these calls."""
        self._api = api
        self._flows: dict[str, uuid.UUID] = {}
        self._turn = asyncio.Lock()
        """One at a time: many at once are what makes a server on SQLite, as shipped, refuse some."""

    async def make(self, job: OfJob, *, key: str) -> MadeFlowRun:
        """Make the flow run of a job, once for each key; PrefectApiError when the server refuses again and again."""
        for pause in _PAUSES_SECONDS:
            try:
                return await self._try(job, key)
            except PrefectApiError:
                # The flow may have been deleted, or the server's database with it; others may have failed beside us.
                self._flows.pop(flow_name(job.name), None)
            await asyncio.sleep(pause)
        return await self._try(job, key)

    async def _try(self, job: OfJob, key: str) -> MadeFlowRun:
        async with self._turn:
            name = flow_name(job.name)
            flow_id = self._flows.get(name)
            if flow_id is None:
                self._flows[name] = flow_id = await self._api.make_flow(name)
            return await self._make(job, flow_id, key)

    async def _make(self, job: OfJob, flow_id: uuid.UUID, key: str) -> MadeFlowRun:
        run_id = await self._api.make_flow_run(
            flow_id,
            name=flow_run_name(job.name, job.id),
            version=job.version,
            parameters={"job_id": job.id},
            tags=flow_run_tags(job.id),
            key=f"jobd:{job.id}:{key}",
        )
        return MadeFlowRun(id=run_id, flow_id=flow_id)
