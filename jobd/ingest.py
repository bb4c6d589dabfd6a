"""Taking journals into the store, each line once: by doorbell, and by looking now and then in case a ring was lost."""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

from structlog.typing import FilteringBoundLogger

from jobd import endings, journal, sockets
from jobd.errors import DrainingError, IllegalTransitionError, JobNotFoundError, StorageError
from jobd.events import Occurrence, Record
from jobd.history import apply
from jobd.jobs import Job
from jobd.layout import StateDirectory
from jobd.store import Store

SPACING_SECONDS = 0.02
"""Rings without end are answered so often, all together: a transaction costs more than the events in it."""
_PIECE_BYTES = 1 << 18
"""So much of a journal is taken in at once: whoever submits a job meanwhile waits for no more."""
_MANY_RINGS = 10
"""So many words wait in a doorbell's socket at least, by the kernel's default; those that come then are lost."""


class Ingest:
    """The way of events from journals to the store."""

    def __init__(self, state: StateDirectory, store: Store, log: FilteringBoundLogger) -> None:
        """Begin with no job."""
        self._state = state
        self._store = store
        self._log = log
        self._offsets: dict[str, int] = {}
        """How far the journals of jobs were taken in; written in the writer's thread too."""
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._bell: socket.socket | None = None
        self._rung: set[str] = set()
        self._offered: set[str] = set()
        """Jobs whose journals will be read, but are not yet; the writer's thread takes them out."""
        self._round: asyncio.TimerHandle | None = None
        self._last_round = 0.0
        """When rung jobs were last taken in, by the loop's clock."""
        self._refused: set[str] = set()
        """Jobs of which the store last refused to take something in; that is told once."""

    def listen(self) -> socket.socket:
        """Answer the doorbell from now on; the caller closes the socket after removing it from the loop."""
        self._bell = bell = sockets.bind(self._state.run / sockets.DOORBELL, socket.SOCK_DGRAM)
        bell.setblocking(False)
        asyncio.get_running_loop().add_reader(bell, self._answer, bell)
        return bell

    def ring(self, job_id: str) -> None:
        """Take in what is new of a job: at once, or soon if that was just done; rings until then count as one."""
        self._rung.add(job_id)
        if self._round is None:
            loop = asyncio.get_running_loop()
            self._round = loop.call_at(max(loop.time(), self._last_round + SPACING_SECONDS), self._take_rung)

    async def take(self, job_id: str) -> None:
        """Take in everything that is new of a job, now; of one that was deleted there is nothing."""
        async with self._locks.setdefault(job_id, asyncio.Lock()):
            before: int | None = None
            with contextlib.suppress(JobNotFoundError):
                while (offset := await self._take_piece(job_id)) != before:
                    before = offset

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

    # -- rounds ------------------------------------------------------------------------------------------------

    def _answer(self, bell: socket.socket) -> None:
        # What rings from now on is heard by the round: a wake of the loop for each ring costs more than the round.
        asyncio.get_running_loop().remove_reader(bell)
        self._hear(bell)

    def _hear(self, bell: socket.socket) -> None:
        heard = 0
        while True:
            try:
                word = bell.recv(256)
            except BlockingIOError:
                break
            heard += 1
            self.ring(word.decode(errors="replace"))
        if heard >= _MANY_RINGS:
            for job_id in filter(self.has_news, tuple(self._offsets)):
                self.ring(job_id)

    def _take_rung(self) -> None:
        """Offer all that rang to the store, which commits it together."""
        loop = asyncio.get_running_loop()
        if self._bell is not None and self._bell.fileno() >= 0:
            self._hear(self._bell)
            loop.add_reader(self._bell, self._answer, self._bell)
        rung, self._rung = self._rung - self._offered, set()
        self._round, self._last_round = None, loop.time()
        with contextlib.suppress(DrainingError):  # the next daemon takes it in
            for job_id in rung:
                self._offer(job_id).add_done_callback(partial(self._answered, loop, job_id))

    def _offer(self, job_id: str) -> "Future[int]":
        """Have a piece of a job's journal taken in, and tell up to where it was then, in bytes."""
        path = self._state.job(job_id).journal

        def read(offset: int) -> journal.Chunk:
            self._offered.discard(job_id)  # who rings from now on may mean what will not have been read
            return journal.read(path, offset, _PIECE_BYTES)

        self._offered.add(job_id)
        return self._store.take_in(job_id, read)

    def _answered(self, loop: asyncio.AbstractEventLoop, job_id: str, future: "Future[int]") -> None:
        """Look at what became of an offer, in the writer's thread: the loop is woken only if there is more to do."""
        self._offered.discard(job_id)  # it may have failed before it was read
        if loop.is_closed():
            return
        if future.exception() is not None:
            loop.call_soon_threadsafe(self._start_task, job_id)
        elif self._note(job_id, future.result()) and self.has_news(job_id):
            loop.call_soon_threadsafe(self.ring, job_id)

    def _note(self, job_id: str, offset: int) -> bool:
        """Remember up to where a journal was taken in, and tell whether that is further than before."""
        further = offset > self._offsets.get(job_id, 0)
        if further:
            self._offsets[job_id] = offset
        return further

    # -- what goes wrong ---------------------------------------------------------------------------------------

    def _start_task(self, job_id: str) -> None:
        task = asyncio.create_task(self._take_again(job_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take_again(self, job_id: str) -> None:
        """Take a job in by itself, and tell what prevents it."""
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

    async def _take_piece(self, job_id: str) -> int:
        try:
            offset = await asyncio.wrap_future(self._offer(job_id))
        except IllegalTransitionError as error:
            offset = await self._fail(job_id, str(error))
        finally:
            self._offered.discard(job_id)
        self._note(job_id, offset)
        return offset

    async def _fail(self, job_id: str, reason: str) -> int:
        """End a job whose journal says what cannot be, so that it does not hang for ever; give where that stands."""
        offset = await asyncio.to_thread(self._store.journal_offset, job_id)
        self._log.error("journal_does_not_fit", job=job_id, offset=offset, why=reason)
        chunk = await asyncio.to_thread(journal.read, self._state.job(job_id).journal, offset, _PIECE_BYTES)
        job = await asyncio.to_thread(self._store.get, job_id)
        job, told = _follow(job, chunk.occurrences)
        message = f"its journal cannot be followed: {reason}"
        time = chunk.occurrences[-1].time
        told += [Occurrence(time=time, event=event) for event in endings.failed(job, message)]
        await asyncio.wrap_future(self._store.ingest(job_id, told, start=offset, end=chunk.offset))
        return chunk.offset


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
