"""All jobs and everything that happened to them: the truth that every client is told.

An event is written in the transaction of the change it tells of. Only the writer's thread changes anything; a job that
has not ended is kept in memory as well, so that asking for it costs no read.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select, update

from jobd import recording, rows, schema
from jobd.archive import Archive, find_request, load
from jobd.database import open_writer
from jobd.errors import JobNotEndedError
from jobd.events import Occurrence, Record
from jobd.failpoints import failpoint
from jobd.history import replay
from jobd.jobs import Job
from jobd.journal import Chunk
from jobd.live_jobs import Live
from jobd.plan import Plan
from jobd.writer import Measure, Writer

Decision = Callable[[Job], Sequence[Occurrence]]
"""Says what happens next to a job as it is now; nothing is a valid answer."""

Told = Callable[[Job, Sequence[Record]], None]
"""Is told, in the writer's thread, of events that were committed, and of their job after them. It must not raise."""


Source = Callable[[int], Chunk]
"""Gives what stands in a journal after a byte. It is called in the writer's thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """A job to be accepted, with all that is kept of the request."""

    job: Job
    plan: Plan
    document: bytes
    request_id: str
    request_digest: str
    first: tuple[Occurrence, ...]
    """The events it begins with."""


class Store(Archive):
    """The store of one state directory. Futures are done when what they promise is on disk."""

    def __init__(
        self,
        path: Path,
        *,
        changed: Callable[[Mapping[str, Job]], None] = lambda _jobs: None,
        told: Told = lambda _job, _records: None,
        measured: Measure = lambda _seconds, _changes: None,
    ) -> None:
        """Open or make the store; `changed` is told, in the writer's thread, of jobs as commits leave them."""
        self._changed = changed
        self._told = told
        self._staged: dict[str, Live] = {}
        self._gone: dict[str, Job] = {}
        self._news: list[tuple[Job, Sequence[Record]]] = []
        self.commits = 0
        """How many commits have changed jobs since it was opened: who sees no more than before need not look again."""
        engine = open_writer(path)
        super().__init__(path)
        self._writer = Writer(engine, committed=self._publish, rolled_back=self._unstage, measured=measured)

    @property
    def trouble(self) -> str:
        """Why the store cannot be written; empty as long as nothing was refused."""
        return self._writer.trouble

    def answer(self) -> "Future[None]":
        """Give a future that is done when the writer has come round to it; the disk is not asked for anything."""
        return self._writer.answer()

    def probe(self) -> "Future[None]":
        """Write to the disk, changing nothing: the future holds a StorageError while that is not possible."""
        return self._writer.probe()

    def close(self) -> None:
        """Finish every change and close."""
        # The readers go first, so that the last connection, the writer's, can move its log into the database.
        super().close()
        self._writer.close()

    def accept(self, acceptance: Acceptance) -> "Future[tuple[Job, bool]]":
        """Take a job on, or give the one that this request_id made before and True.

        RequestIdReusedError when that one was asked for with other content.
        """
        return self._writer.submit(lambda connection: self._accept(connection, acceptance))

    def decide(self, job_id: str, decision: Decision) -> "Future[Job]":
        """Record what `decision` says of the job as it then is; JobNotFoundError when there is none."""

        def work(connection: Connection) -> Job:
            live = self._find(connection, job_id)
            return self._record(connection, live, decision(live.job), {})

        return self._writer.submit(work)

    def ingest(self, job_id: str, occurrences: Sequence[Occurrence], *, start: int, end: int) -> "Future[Job]":
        """Record the lines that stand in a job's journal from byte `start` to byte `end`, once.

        Lines before the recorded offset were taken in already: when `start` is not that offset, nothing happens.
        """

        def work(connection: Connection) -> Job:
            live = self._find(connection, job_id)
            if recording.read_offset(connection, job_id) != start:
                return live.job
            return self._record(connection, live, occurrences, {"journal_offset": end})

        return self._writer.submit(work)

    def take_in(self, job_id: str, source: Source) -> "Future[int]":
        """Record what stands in a job's journal beyond what was recorded, once; give where that ends, in bytes.

        It is read in the writer's thread: a thread that only reads would cost more than the reading. Of a job that
        there is not, nothing may stand there: JobNotFoundError.
        """

        def work(connection: Connection) -> int:
            chunk = source(recording.read_offset(connection, job_id) or 0)
            if chunk.occurrences:
                failpoint("ingest.read")
                live = self._find(connection, job_id)
                self._record(connection, live, chunk.occurrences, {"journal_offset": chunk.offset})
            return chunk.offset

        return self._writer.submit(work)

    def mark_recorded(self, job_id: str, flow_run_id: str) -> "Future[None]":
        """Note that Prefect's record of an ended job is complete, and under which flow run."""
        values = {"recorded": 1, "flow_run_id": flow_run_id}
        query = update(schema.jobs).where(schema.jobs.c.id == job_id).values(values)

        def work(connection: Connection) -> None:
            connection.execute(query)

        return self._writer.submit(work)

    def delete(self, job_id: str) -> "Future[None]":
        """Remove all rows of a job that has ended; JobNotFoundError or JobNotEndedError when it cannot be."""

        def work(connection: Connection) -> None:
            live = self._find(connection, job_id)
            if not live.job.terminal:
                raise JobNotEndedError(f"job {job_id} is {live.job.state}", hint="cancel it first")
            recording.remove_job(connection, live)
            self._staged.pop(job_id, None)
            self._gone[job_id] = live.job

        return self._writer.submit(work)

    def rewrite(self, job: Job, *, journal_offset: int | None = None) -> "Future[Job]":
        """Make a job's rows what `job` says, which its events must give; set its journal's offset when one is given."""

        def work(connection: Connection) -> Job:
            number = self._find(connection, job.id).number
            values = {} if journal_offset is None else {"journal_offset": journal_offset}
            recording.rewrite_job(connection, number, job, values)
            self._staged[job.id] = Live(number, job)
            return job

        return self._writer.submit(work)

    def _accept(self, connection: Connection, acceptance: Acceptance) -> tuple[Job, bool]:
        if acceptance.request_id:
            earlier = find_request(connection, acceptance.request_id, acceptance.request_digest)
            if earlier is not None:
                return self._find(connection, earlier).job, True
        values = rows.new_job_row(acceptance.job) | {
            "request_id": acceptance.request_id or None,
            "request_digest": acceptance.request_digest,
        }
        made_of = {"document": acceptance.document, "plan": acceptance.plan.model_dump_json()}
        before = Live(recording.add_job(connection, acceptance.job, values, made_of), acceptance.job)
        return self._record(connection, before, acceptance.first, {}), False

    def _find(self, connection: Connection, job_id: str) -> Live:
        live = self._staged.get(job_id) or self._live.get(job_id)
        return live or load(connection, select(schema.jobs).where(schema.jobs.c.id == job_id), job_id)

    def _record(self, connection: Connection, live: Live, occurrences: Sequence[Occurrence], changes: rows.Row) -> Job:
        records = _number(occurrences, after=live.job.sequence)
        job = replay(live.job, records) if records else live.job
        recording.record(connection, live, job, records, changes)
        self._staged[job.id] = Live(live.number, job)
        if records:
            self._news.append((job, records))
        return job

    def _unstage(self) -> None:
        self._staged.clear()
        self._gone.clear()
        self._news.clear()

    def _publish(self) -> None:
        changed = {job_id: live.job for job_id, live in self._staged.items()} | self._gone
        # First, so that whoever finds a job at its new sequence finds the events as well.
        for job, records in self._news:
            self._recent.add(job.id, records)
        # Of one that ended and was deleted in one commit, nothing is staged.
        for live in (*self._staged.values(), *(Live(0, job) for job in self._gone.values())):
            self._live.put(live)
        failpoint("store.committed")
        news = self._news.copy()
        self._unstage()
        self.commits += bool(changed)
        self._changed(changed)
        for job, records in news:
            self._told(job, records)


def _number(occurrences: Sequence[Occurrence], *, after: int) -> list[Record]:
    return [
        Record(sequence=sequence, time=occurrence.time, event=occurrence.event)
        for sequence, occurrence in enumerate(occurrences, after + 1)
    ]
