"""Watching a job: a cursor on its events, not a queue for each watcher."""

import asyncio
from collections.abc import AsyncIterator

from jobapi.v1 import job_service_pb2 as pb

from jobd.bells import Bells
from jobd.errors import DrainingError, SequenceOutOfRangeError
from jobd.events import Record
from jobd.jobs import Job
from jobd.rpc import convert
from jobd.rpc.shared_reads import SharedReads
from jobd.store import Store

HEARTBEAT_SECONDS = 15.0
_PAGE = 200
"""So many events a watcher holds at most that it has not passed on."""
_MOST_MESSAGES = 128
"""So many events are kept as messages, for whoever else watches."""


class Watcher:
    """Follows jobs for any number of clients."""

    def __init__(self, store: Store, bells: Bells, *, dashboard_url: str) -> None:
        """Read from `store` when `bells` ring."""
        self._store = store
        self._bells = bells
        self._dashboard_url = dashboard_url
        self._draining = False
        self._reads = SharedReads()
        self._messages: dict[tuple[str, int], pb.WatchResponse] = {}

    def drain(self) -> None:
        """End every watch with a status that tells clients to come again."""
        self._draining = True
        self._bells.ring_all()

    async def watch(self, job_id: str, after: int) -> AsyncIterator[pb.WatchResponse]:
        """Give a snapshot, every event after `after`, and heartbeats; return after the terminal event."""
        job = await self.get(job_id)
        if after > job.sequence:
            raise SequenceOutOfRangeError(
                f"job {job_id} has {job.sequence} events, so that none follows number {after}",
                hint="watch after the last sequence that was seen of this very job",
                last=job.sequence,
            )
        yield await self._snapshot(job)
        sequence = after
        while True:
            bell = self._bells.next(job_id)
            try:
                job = await self.get(job_id)
                while sequence < job.sequence:
                    messages = await self._events(job_id, sequence)
                    if not messages:
                        job = await self.get(job_id)  # it was deleted meanwhile: this tells so
                    for message in messages:
                        yield message
                        sequence = message.event.sequence
                    if sequence < job.sequence:
                        self.check_draining()
                if job.terminal:
                    return
                if not await self.changed(bell):
                    yield pb.WatchResponse(heartbeat=pb.Heartbeat(last_sequence=sequence))
            finally:
                self._bells.drop(job_id, bell)

    async def get(self, job_id: str) -> Job:
        """Give a job as it is now."""
        live = self._store.live_job(job_id)
        # Of a job that has ended much is read, and a restarted daemon is asked for it by all watchers at once.
        key = ("job", job_id, self._bells.rung)
        return live if live is not None else await self._reads.get(key, lambda: self._store.get(job_id))

    async def _snapshot(self, job: Job) -> pb.WatchResponse:
        def make() -> pb.WatchResponse:
            return pb.WatchResponse(snapshot=convert.job(job, dashboard_url=self._dashboard_url))

        # `recorded` is the one thing of a job that changes without an event.
        return await self._reads.get(("snapshot", job.id, job.sequence, job.recorded), make)

    async def _events(self, job_id: str, sequence: int) -> list[pb.WatchResponse]:
        # What has just happened is in memory, and a thread would cost more than it all.
        recent = self._store.recent_events(job_id, sequence, _PAGE)
        if recent is not None:
            return [self._message(job_id, record) for record in recent]

        def read() -> list[pb.WatchResponse]:
            records = self._store.events_after(job_id, sequence, _PAGE)
            return [pb.WatchResponse(event=convert.event(job_id, record)) for record in records]

        return await self._reads.get(("events", job_id, sequence), read)

    def _message(self, job_id: str, record: Record) -> pb.WatchResponse:
        """Give an event on the wire, made once for all who watch; nobody may change it."""
        key = (job_id, record.sequence)
        message = self._messages.get(key)
        if message is None:
            if len(self._messages) >= _MOST_MESSAGES:
                self._messages.clear()
            message = self._messages[key] = pb.WatchResponse(event=convert.event(job_id, record))
        return message

    @property
    def rung(self) -> int:
        """How often any bell has rung: what was committed before the last time is found by every read that follows."""
        return self._bells.rung

    def bell(self, job_id: str) -> "asyncio.Future[None]":
        """Give a future of the job's next change."""
        return self._bells.next(job_id)

    def drop(self, job_id: str, bell: "asyncio.Future[None]") -> None:
        """Stop waiting for it."""
        self._bells.drop(job_id, bell)

    async def changed(self, bell: "asyncio.Future[None]", seconds: float = HEARTBEAT_SECONDS) -> bool:
        """Wait for a bell or for the time to be up, and tell whether it rang; DrainingError when the daemon ends."""
        await asyncio.wait([bell], timeout=seconds)
        self.check_draining()
        return bell.done()

    def check_draining(self) -> None:
        """Raise DrainingError when the daemon ends."""
        if self._draining:
            raise DrainingError("the daemon is shutting down; watch again after the last sequence that was seen")
