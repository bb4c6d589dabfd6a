"""Taking journals into the store, each line once: by doorbell, and by looking now and then in case a ring was lost."""

import asyncio
import socket
from collections.abc import Sequence

from structlog.typing import FilteringBoundLogger

from jobd import endings, journal, sockets
from jobd.errors import IllegalTransitionError, StorageError
from jobd.events import Occurrence, Record
from jobd.failpoints import failpoint
from jobd.jobs import Job, apply
from jobd.layout import StateDirectory
from jobd.store import Store


class Ingest:
    """The way of events from journals to the store."""

    def __init__(self, state: StateDirectory, store: Store, log: FilteringBoundLogger) -> None:
        """Begin with no job."""
        self._state = state
        self._store = store
        self._log = log
        self._offsets: dict[str, int] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._rung: set[str] = set()
        self._refused: set[str] = set()
        """Jobs of which the store last refused to take something in; that is told once."""

    def listen(self) -> socket.socket:
        """Answer the doorbell from now on; the caller closes the socket after removing it from the loop."""
        bell = sockets.bind(self._state.run / sockets.DOORBELL, socket.SOCK_DGRAM)
        bell.setblocking(False)
        asyncio.get_running_loop().add_reader(bell, self._answer, bell)
        return bell

    def ring(self, job_id: str) -> None:
        """Take in what is new of a job, soon; rings during that count as one."""
        if job_id not in self._rung:
            self._rung.add(job_id)
            task = asyncio.create_task(self._take_rung(job_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def take(self, job_id: str) -> None:
        """Take in everything that is new of a job, now."""
        async with self._locks.setdefault(job_id, asyncio.Lock()):
            path = self._state.job(job_id).journal
            offset = self._offsets.get(job_id)
            if offset is None:
                offset = await asyncio.to_thread(self._store.journal_offset, job_id)
            while True:
                chunk = await asyncio.to_thread(journal.read, path, offset)
                if not chunk.occurrences:
                    break
                await self._record(job_id, chunk, offset)
                offset = self._offsets[job_id] = chunk.offset

    def has_news(self, job_id: str) -> bool:
        """Tell whether a job's journal is longer than what was taken in."""
        try:
            size = self._state.job(job_id).journal.stat().st_size
        except FileNotFoundError:
            return False
        return size > self._offsets.get(job_id, 0)

    def forget(self, job_id: str) -> None:
        """Let go of a job that has ended."""
        self._offsets.pop(job_id, None)
        self._locks.pop(job_id, None)
        self._refused.discard(job_id)

    async def _take_rung(self, job_id: str) -> None:
        self._rung.discard(job_id)
        try:
            await self.take(job_id)
        except StorageError as error:
            if job_id not in self._refused:
                self._log.error("ingest_refused", job=job_id, error=error.message)
            self._refused.add(job_id)
        except Exception:  # noqa: BLE001 - told in full; it must not end the care of other jobs
            # The next ring or look tries again; the lines stay in the journal until then.
            self._log.exception("ingest_failed", job=job_id)
        else:
            if job_id in self._refused:
                self._refused.discard(job_id)
                self._log.info("ingest_goes_on", job=job_id)

    async def _record(self, job_id: str, chunk: journal.Chunk, offset: int) -> None:
        failpoint("ingest.read")
        future = self._store.ingest(job_id, chunk.occurrences, start=offset, end=chunk.offset)
        try:
            await asyncio.wrap_future(future)
        except IllegalTransitionError as error:
            self._log.exception("journal_does_not_fit", job=job_id, offset=offset)
            await self._fail(job_id, chunk, offset, str(error))

    async def _fail(self, job_id: str, chunk: journal.Chunk, offset: int, reason: str) -> None:
        """End a job whose journal says what cannot be, so that it does not hang for ever."""
        job = await asyncio.to_thread(self._store.get, job_id)
        job, told = _follow(job, chunk.occurrences)
        message = f"its journal cannot be followed: {reason}"
        time = chunk.occurrences[-1].time
        told += [Occurrence(time=time, event=event) for event in endings.failed(job, message)]
        await asyncio.wrap_future(self._store.ingest(job_id, told, start=offset, end=chunk.offset))

    def _answer(self, bell: socket.socket) -> None:
        while True:
            try:
                word = bell.recv(256)
            except BlockingIOError:
                return
            self.ring(word.decode(errors="replace"))


def _follow(job: Job, occurrences: Sequence[Occurrence]) -> tuple[Job, list[Occurrence]]:
    """Give the occurrences up to the first that does not fit, and the job after them."""
    told: list[Occurrence] = []
    for occurrence in occurrences:
        record = Record(sequence=job.sequence + 1, time=occurrence.time, event=occurrence.event)
        try:
            job = apply(job, record)
        except IllegalTransitionError:
            break
        told.append(occurrence)
    return job, told
