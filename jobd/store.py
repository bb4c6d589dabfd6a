"""All jobs and everything that happened to them: the truth that every client is told.

An event is written in the transaction of the change it tells of. Only the writer's thread changes anything; a job that
has not ended is kept in memory as well, so that asking for it costs no read.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Select, Table, bindparam, delete, func, insert, select, text, update

from jobd import rows, schema
from jobd.database import Writer, open_reader, open_writer
from jobd.errors import InvalidRequestError, JobNotEndedError, JobNotFoundError, RequestIdReusedError
from jobd.events import ArtifactPublished, ArtifactRemoved, EntryEvent, JobRecovering, Occurrence, Record
from jobd.jobs import Job, apply
from jobd.plan import Plan
from jobd.states import LIVE_JOB_STATES, TERMINAL_JOB_STATES, ArtifactState, JobState

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some jobs, newest first."""

    jobs: tuple[Job, ...]
    before: int | None
    """The number to go on before; None after the last page."""


@dataclass(frozen=True, slots=True)
class _Live:
    number: int
    job: Job


class Store:
    """The store of one state directory. Futures are done when what they promise is on disk."""

    def __init__(self, path: Path, *, changed: Callable[[Mapping[str, Job]], None] = lambda _jobs: None) -> None:
        """Open or make the store; `changed` is told, in the writer's thread, of jobs as commits leave them."""
        self._changed = changed
        self._staged: dict[str, _Live] = {}
        self._live: dict[str, _Live] = {}
        engine = open_writer(path)
        self._reader = open_reader(path)
        self._live = self._load_live()
        self._writer = Writer(engine, committed=self._publish, rolled_back=self._staged.clear)

    def close(self) -> None:
        """Finish every change and close."""
        self._writer.close()
        self._reader.dispose()

    # -- changes -----------------------------------------------------------------------------------------------

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
            self._staged[job.id] = _Live(number, job)
            return job

        return self._writer.submit(work)

    def _accept(self, connection: Connection, acceptance: Acceptance) -> tuple[Job, bool]:
        if acceptance.request_id:
            earlier = _find_request(connection, acceptance.request_id, acceptance.request_digest)
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
        return self._record(connection, _Live(number, job), acceptance.first, {}), False

    def _find(self, connection: Connection, job_id: str) -> _Live:
        live = self._staged.get(job_id) or self._live.get(job_id)
        return live or _load(connection, select(schema.jobs).where(schema.jobs.c.id == job_id), job_id)

    def _record(self, connection: Connection, live: _Live, occurrences: Sequence[Occurrence], changes: rows.Row) -> Job:
        job, records = live.job, []
        for occurrence in occurrences:
            record = Record(sequence=job.sequence + 1, time=occurrence.time, event=occurrence.event)
            job = apply(job, record)
            records.append(record)
        if records:
            _insert(connection, schema.events, [rows.event_row(live.number, record) for record in records])
            _update_parts(connection, live.number, job, records)
            changes = changes | rows.job_row(job)
        if changes:
            connection.execute(update(schema.jobs).where(schema.jobs.c.number == live.number).values(changes))
        self._staged[job.id] = _Live(live.number, job)
        return job

    def _publish(self) -> None:
        changed = {job_id: live.job for job_id, live in self._staged.items()}
        for job_id, live in self._staged.items():
            if live.job.terminal:
                self._live.pop(job_id, None)
            else:
                self._live[job_id] = live
        self._staged.clear()
        self._changed(changed)

    # -- questions ---------------------------------------------------------------------------------------------

    def live(self) -> tuple[Job, ...]:
        """Give every job that has not ended, oldest first."""
        return tuple(live.job for live in sorted(self._live.copy().values(), key=lambda live: live.number))

    def live_job(self, job_id: str) -> Job | None:
        """Give a job that has not ended, without a read of the disk."""
        live = self._live.get(job_id)
        return live.job if live else None

    def get(self, job_id: str) -> Job:
        """Give a job with all its parts; JobNotFoundError when there is none."""
        job = self.live_job(job_id)
        if job is not None:
            return job
        with self._reader.connect() as connection:
            return _load(connection, select(schema.jobs).where(schema.jobs.c.id == job_id), job_id).job

    def exists(self, job_id: str) -> bool:
        """Tell whether there is a job of this id."""
        with self._reader.connect() as connection:
            return connection.scalar(select(schema.jobs.c.number).where(schema.jobs.c.id == job_id)) is not None

    def find_request(self, request_id: str, request_digest: str) -> Job | None:
        """Give the job that a request_id made before; RequestIdReusedError when its content was other."""
        if not request_id:
            return None
        with self._reader.connect() as connection:
            found = _find_request(connection, request_id, request_digest)
        return None if found is None else self.get(found)

    def resolve(self, text: str) -> str:
        """Give the id that `text` means: an id, the unambiguous beginning of one, or `@latest`."""
        jobs = schema.jobs.c
        if text == "@latest":
            query = select(jobs.id).order_by(jobs.number.desc()).limit(1)
        else:
            # A range instead of LIKE: it uses the index, and no character of `text` has a second meaning.
            query = select(jobs.id).where(jobs.id >= text, jobs.id < text + "\U0010ffff").order_by(jobs.id).limit(2)
        with self._reader.connect() as connection:
            found = connection.scalars(query).all() if text else []
        if text in found:
            return text
        if len(found) == 1:
            return str(found[0])
        if found:
            raise InvalidRequestError(f"{text!r} is the beginning of several job ids", hint="give more of the id")
        raise JobNotFoundError(f"there is no job {text!r}", hint="`jobctl list` shows the jobs there are")

    def plan(self, job_id: str) -> Plan:
        """Give a job's plan; JobNotFoundError when there is none."""
        with self._reader.connect() as connection:
            text = connection.scalar(select(schema.jobs.c.plan).where(schema.jobs.c.id == job_id))
        if text is None:
            raise JobNotFoundError(f"there is no job {job_id!r}")
        return Plan.model_validate_json(text)

    def document(self, job_id: str) -> bytes:
        """Give a job's file as it came; JobNotFoundError when there is no such job."""
        with self._reader.connect() as connection:
            document = connection.scalar(select(schema.jobs.c.document).where(schema.jobs.c.id == job_id))
        if document is None:
            raise JobNotFoundError(f"there is no job {job_id!r}")
        return bytes(document)

    def journal_offset(self, job_id: str) -> int:
        """Give how many bytes of a job's journal were taken in."""
        with self._reader.connect() as connection:
            return connection.scalar(select(schema.jobs.c.journal_offset).where(schema.jobs.c.id == job_id)) or 0

    def events_after(self, job_id: str, sequence: int, limit: int = 500) -> tuple[Record, ...]:
        """Give at most `limit` events of a job after `sequence`, in order."""
        number = select(schema.jobs.c.number).where(schema.jobs.c.id == job_id).scalar_subquery()
        query = (
            select(schema.events)
            .where(schema.events.c.job == number, schema.events.c.sequence > sequence)
            .order_by(schema.events.c.sequence)
            .limit(limit)
        )
        with self._reader.connect() as connection:
            return tuple(map(rows.to_record, connection.execute(query).mappings()))

    def page(self, *, size: int, before: int | None, states: Sequence[JobState] = (), name: str = "") -> Page:
        """Give at most `size` jobs accepted before number `before`, newest first, without their parts."""
        jobs = schema.jobs.c
        query = select(schema.jobs).order_by(jobs.number.desc()).limit(size + 1)
        if before is not None:
            query = query.where(jobs.number < before)
        if states:
            query = query.where(jobs.state.in_([state.value for state in states]))
        if name:
            query = query.where(jobs.name == name)
        with self._reader.connect() as connection:
            found = connection.execute(query).mappings().all()
        more = len(found) > size
        return Page(jobs=tuple(map(rows.to_job, found[:size])), before=found[size - 1]["number"] if more else None)

    def count(self, state: JobState) -> int:
        """Count the jobs in a state that is not terminal."""
        return sum(live.job.state is state for live in self._live.copy().values())

    def event_count(self, job_id: str) -> int:
        """Count the events of a job that are on disk."""
        number = select(schema.jobs.c.number).where(schema.jobs.c.id == job_id).scalar_subquery()
        with self._reader.connect() as connection:
            query = select(func.count()).select_from(schema.events).where(schema.events.c.job == number)
            return connection.scalar(query) or 0

    def unrecorded(self, limit: int) -> Sequence[str]:
        """Give ended jobs whose record at Prefect is not known to be complete, oldest first."""
        jobs = schema.jobs.c
        ended = [state.value for state in TERMINAL_JOB_STATES]
        query = select(jobs.id).where(jobs.recorded == text("0"), jobs.state.in_(ended)).order_by(jobs.number)
        with self._reader.connect() as connection:
            return connection.scalars(query.limit(limit)).all()

    def ended(self) -> tuple[Job, ...]:
        """Give every job that has ended, oldest first, without its parts."""
        columns = [column for column in schema.jobs.c if column.name not in ("document", "plan")]
        states = [state.value for state in TERMINAL_JOB_STATES]
        query = select(*columns).where(schema.jobs.c.state.in_(states)).order_by(schema.jobs.c.number)
        with self._reader.connect() as connection:
            return tuple(map(rows.to_job, connection.execute(query).mappings()))

    def private_artifacts(self) -> Mapping[str, tuple[str, ...]]:
        """Name the artifacts of ended jobs that are present and not public, by job."""
        jobs, artifacts = schema.jobs.c, schema.artifacts.c
        query = (
            select(jobs.id, artifacts.name)
            .join_from(schema.artifacts, schema.jobs, artifacts.job == jobs.number)
            .where(jobs.state.in_([state.value for state in TERMINAL_JOB_STATES]))
            .where(artifacts.public == 0, artifacts.state == ArtifactState.PRESENT.value)
            .order_by(artifacts.job, artifacts.place)
        )
        found: dict[str, tuple[str, ...]] = {}
        with self._reader.connect() as connection:
            for job_id, name in connection.execute(query):
                found[job_id] = (*found.get(job_id, ()), name)
        return found

    def _load_live(self) -> dict[str, _Live]:
        jobs = schema.jobs.c
        states = [state.value for state in LIVE_JOB_STATES]
        with self._reader.connect() as connection:
            ids = connection.scalars(select(jobs.id).where(jobs.state.in_(states))).all()
            loaded = [_load(connection, select(schema.jobs).where(jobs.id == job_id), job_id) for job_id in ids]
        return {live.job.id: live for live in loaded}


def _load(connection: Connection, query: "Select[tuple[object, ...]]", job_id: str) -> _Live:
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise JobNotFoundError(f"there is no job {job_id!r}", hint="`jobctl list` shows the jobs there are")
    number = row["number"]
    parts = [
        connection.execute(select(table).where(table.c.job == number).order_by(table.c.place)).mappings().all()
        for table in (schema.entries, schema.artifacts)
    ]
    return _Live(number, rows.to_job(row, parts[0], parts[1]))


def _find_request(connection: Connection, request_id: str, request_digest: str) -> str | None:
    jobs = schema.jobs.c
    query = select(jobs.id, jobs.request_digest).where(jobs.request_id == request_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    if row.request_digest != request_digest:
        raise RequestIdReusedError(
            f"the request_id {request_id!r} was used for job {row.id} with other content",
            hint="use a new request_id for a new job",
        )
    return str(row.id)


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
