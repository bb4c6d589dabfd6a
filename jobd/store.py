"""All jobs and everything that happened to them: the truth that every client is told.

An event is written in the transaction of the change it tells of. Only the writer's thread changes anything; a job that
has not ended is kept in memory as well, so that asking for it costs no read.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update

from jobd import rows, schema
from jobd.archive import Archive, Live, find_request, load
from jobd.database import Writer, open_writer
from jobd.errors import JobNotEndedError
from jobd.events import ArtifactPublished, ArtifactRemoved, EntryEvent, JobRecovering, Occurrence, Record
from jobd.failpoints import failpoint
from jobd.jobs import Job, apply
from jobd.plan import Plan

Decision = Callable[[Job], Sequence[Occurrence]]
"""Says what happens next to a job as it is now; nothing is a valid answer."""


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

    def __init__(self, path: Path, *, changed: Callable[[Mapping[str, Job]], None] = lambda _jobs: None) -> None:
        """Open or make the store; `changed` is told, in the writer's thread, of jobs as commits leave them."""
        self._changed = changed
        self._staged: dict[str, Live] = {}
        engine = open_writer(path)
        super().__init__(path)
        self._writer = Writer(engine, committed=self._publish, rolled_back=self._staged.clear)

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
            known = connection.scalar(select(schema.jobs.c.journal_offset).where(schema.jobs.c.number == live.number))
            if known != start:
                return live.job
            return self._record(connection, live, occurrences, {"journal_offset": end})

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
            # Events, entries and artifacts go with it.
            connection.execute(delete(schema.jobs).where(schema.jobs.c.number == live.number))

        return self._writer.submit(work)

    def rewrite(self, job: Job, *, journal_offset: int | None = None) -> "Future[Job]":
        """Make a job's rows what `job` says, which its events must give; set its journal's offset when one is given."""

        def work(connection: Connection) -> Job:
            number = self._find(connection, job.id).number
            changes = rows.job_row(job) | ({} if journal_offset is None else {"journal_offset": journal_offset})
            connection.execute(update(schema.jobs).where(schema.jobs.c.number == number).values(changes))
            for table, values in (
                (schema.entries, [rows.entry_row(number, *item) for item in enumerate(job.entries)]),
                (schema.artifacts, [rows.artifact_row(number, *item) for item in enumerate(job.artifacts)]),
            ):
                connection.execute(delete(table).where(table.c.job == number))
                _insert(connection, table, values)
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
            "document": acceptance.document,
            "plan": acceptance.plan.model_dump_json(),
        }
        number = connection.execute(insert(schema.jobs).values(values)).inserted_primary_key[0]  # type: ignore[index]
        job = acceptance.job
        _insert(connection, schema.entries, [rows.entry_row(number, *item) for item in enumerate(job.entries)])
        _insert(connection, schema.artifacts, [rows.artifact_row(number, *item) for item in enumerate(job.artifacts)])
        return self._record(connection, Live(number, job), acceptance.first, {}), False

    def _find(self, connection: Connection, job_id: str) -> Live:
        live = self._staged.get(job_id) or self._live.get(job_id)
        return live or load(connection, select(schema.jobs).where(schema.jobs.c.id == job_id), job_id)

    def _record(self, connection: Connection, live: Live, occurrences: Sequence[Occurrence], changes: rows.Row) -> Job:
        job, records = live.job, []
        for occurrence in occurrences:
            record = Record(sequence=job.sequence + 1, time=occurrence.time, event=occurrence.event)
            job = apply(job, record)
            records.append(record)
        if records:
            _insert(connection, schema.events, [rows.event_row(live.number, record) for record in records])
            _update_parts(connection, live.number, job, records)
            changes = changes | rows.job_row(job)
        for record in records:
            failpoint(f"store.before.{record.event.kind}")
        if changes:
            connection.execute(update(schema.jobs).where(schema.jobs.c.number == live.number).values(changes))
        self._staged[job.id] = Live(live.number, job)
        return job

    def _publish(self) -> None:
        changed = {job_id: live.job for job_id, live in self._staged.items()}
        for job_id, live in self._staged.items():
            if live.job.terminal:
                self._live.pop(job_id, None)
            else:
                self._live[job_id] = live
        failpoint("store.committed")
        self._staged.clear()
        self._changed(changed)


def _insert(connection: Connection, table: Table, values: list[rows.Row]) -> None:
    if values:
        connection.execute(insert(table), values)


_UPDATES = {
    table.name: update(table).where(table.c.job == bindparam("this_job"), table.c.place == bindparam("this_place"))
    for table in (schema.entries, schema.artifacts)
}


def _update_parts(connection: Connection, number: int, job: Job, records: Sequence[Record]) -> None:
    entries, artifacts = _touched(job, records)
    for table, values in (
        (schema.entries, [rows.entry_row(number, place, job.entries[place]) for place in sorted(entries)]),
        (schema.artifacts, [rows.artifact_row(number, place, job.artifacts[place]) for place in sorted(artifacts)]),
    ):
        if values:
            # The key's columns are bound under other names, because an update takes the plain ones as new values.
            keyed = [row | {"this_job": row["job"], "this_place": row["place"]} for row in values]
            connection.execute(_UPDATES[table.name], keyed)


def _touched(job: Job, records: Sequence[Record]) -> tuple[set[int], set[int]]:
    entries: set[int] = set()
    artifacts: set[int] = set()
    for record in records:
        event = record.event
        if isinstance(event, JobRecovering):
            entries.update(range(len(job.entries)))
        elif isinstance(event, ArtifactPublished | ArtifactRemoved):
            artifacts.add(job.artifact_places[event.name])
        elif isinstance(event, EntryEvent):
            entries.add(job.places[event.step, event.entry])
    return entries, artifacts
