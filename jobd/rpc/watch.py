"""Watching a job: a cursor on its events, not a queue for each watcher."""

import asyncio
from collections.abc import AsyncIterator

from jobapi.v1 import job_service_pb2 as pb

from jobd.bells import Bells
from jobd.errors import DrainingError
from jobd.jobs import Job
from jobd.rpc import convert
from jobd.store import Store

HEARTBEAT_SECONDS = 15.0


class Watcher:
    """Follows jobs for any number of clients."""

    def __init__(self, store: Store, bells: Bells, *, dashboard_url: str) -> None:
        """Read from `store` when `bells` ring."""
        self._store = store
        self._bells = bells
        self._dashboard_url = dashboard_url
        self._draining = False

    def drain(self) -> None:
        """End every watch with a status that tells clients to come again."""
        self._draining = True
        self._bells.ring_all()

    async def watch(self, job_id: str, after: int) -> AsyncIterator[pb.WatchResponse]:
        """Give a snapshot, every event after `after`, and heartbeats; return after the terminal event."""
        job = await self.get(job_id)
        yield pb.WatchResponse(snapshot=convert.job(job, dashboard_url=self._dashboard_url))
        sequence = after
        while True:
            bell = self._bells.next(job_id)
            try:
                job = await self.get(job_id)
                while sequence < job.sequence:
                    records = await asyncio.to_thread(self._store.events_after, job_id, sequence)
                    for record in records:
                        yield pb.WatchResponse(event=convert.event(job_id, record))
                        sequence = record.sequence
                if job.terminal:
                    return
                if not await self.changed(bell):
                    yield pb.WatchResponse(heartbeat=pb.Heartbeat(last_sequence=sequence))
            finally:
                self._bells.drop(job_id, bell)

    async def get(self, job_id: str) -> Job:
        """Give a job as it is now."""
        live = self._store.live_job(job_id)
        return live if live is not None else await asyncio.to_thread(self._store.get, job_id)

    def bell(self, job_id: str) -> "asyncio.Future[None]":
        """Give a future of the job's next change."""
        return self._bells.next(job_id)

    def drop(self, job_id: str, bell: "asyncio.Future[None]") -> None:
        """Stop waiting for it."""
        self._bells.drop(job_id, bell)

    async def changed(self, bell: "asyncio.Future[None]", seconds: float = HEARTBEAT_SECONDS) -> bool:
        """Wait for a bell or for the time to be up, and tell whether it rang; DrainingError when the daemon ends."""
        await asyncio.wait([bell], timeout=seconds)
        if self._draining:
            raise DrainingError("the daemon is shutting down; watch again after the last sequence that was seen")
        return bell.done()
