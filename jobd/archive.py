"""Every question that can be asked of the jobs on disk. Nothing here changes anything.

A job that has not ended is kept in memory as well, so that asking for it costs no read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Column, Connection, Select, select, text

from jobd import rows, schema
from jobd.changes import Change, ChangeReader, Range, Removed, read_range
from jobd.database import open_reader
from jobd.errors import InvalidRequestError, JobNotFoundError, RequestIdReusedError
from jobd.events import Record
from jobd.job_filter import EVERY_JOB, JobFilter
from jobd.jobs import Job
from jobd.listing import find_numbers, read_rows
from jobd.live_jobs import Live, LiveJobs
from jobd.plan import Plan
from jobd.recent import RecentEvents
from jobd.states import LIVE_JOB_STATES, TERMINAL_JOB_STATES, ArtifactState, JobState

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some jobs, newest first."""

    jobs: tuple[Job, ...]
    before: int | None
    """The number to go on before; None after the last page."""
    cursor: int
    """A cursor from before the jobs were read."""


class Archive:
    """The jobs of one database, for any number of threads to ask."""

    def __init__(self, path: Path) -> None:
        """Open a database that exists, at this version's schema."""
        self._reader = open_reader(path)
        self._changes = ChangeReader()
        self._recent = RecentEvents()
        self._live = LiveJobs(self._load_live())

    def close(self) -> None:
        """Close."""
        self._reader.dispose()

    def live(self) -> tuple[Job, ...]:
        """Give every job that has not ended, oldest first."""
        return tuple(live.job for live in self._live.all())

    def live_count(self) -> int:
        """Count the jobs that have not ended."""
        return len(self._live)

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
            return load(connection, select(schema.jobs).where(schema.jobs.c.id == job_id), job_id).job

    def exists(self, job_id: str) -> bool:
        """Tell whether there is a job of this id."""
        with self._reader.connect() as connection:
            return connection.scalar(select(schema.jobs.c.number).where(schema.jobs.c.id == job_id)) is not None

    def find_request(self, request_id: str, request_digest: str) -> Job | None:
        """Give the job that a request_id made before; RequestIdReusedError when its content was other."""
        if not request_id:
            return None
        with self._reader.connect() as connection:
            found = find_request(connection, request_id, request_digest)
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

    def number(self, job_id: str) -> int:
        """Give a job's place in the order of acceptance; 0 when there is none."""
        live = self._live.get(job_id)
        if live is not None:
            return live.number
        with self._reader.connect() as connection:
            return connection.scalar(select(schema.jobs.c.number).where(schema.jobs.c.id == job_id)) or 0

    def owner(self, job_id: str) -> str:
        """Give who submitted a job, empty where that is not known; JobNotFoundError when there is none."""
        live = self.live_job(job_id)
        if live is not None:
            return live.owner
        with self._reader.connect() as connection:
            owner = connection.scalar(select(schema.jobs.c.owner).where(schema.jobs.c.id == job_id))
        if owner is None:
            raise JobNotFoundError(f"there is no job {job_id!r}")
        return str(owner)

    def plan(self, job_id: str) -> Plan:
        """Give a job's plan; JobNotFoundError when there is none."""
        with self._reader.connect() as connection:
            text = connection.scalar(_made_of(job_id, schema.plans.c.plan))
        if text is None:
            raise JobNotFoundError(f"there is no job {job_id!r}")
        return Plan.model_validate_json(text)

    def document(self, job_id: str) -> bytes:
        """Give a job's file as it came; JobNotFoundError when there is no such job."""
        with self._reader.connect() as connection:
            document = connection.scalar(_made_of(job_id, schema.plans.c.document))
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

    def recent_events(self, job_id: str, sequence: int, limit: int = 500) -> tuple[Record, ...] | None:
        """Give the same without a read of the disk; None where that takes one, as for what is long past."""
        return self._recent.after(job_id, sequence, limit)

    def page(self, *, size: int, before: int | None, wanted: JobFilter = EVERY_JOB) -> Page:
        """Give at most `size` jobs accepted before number `before`, newest first, without their parts."""
        with self._reader.connect() as connection:
            # First, so that whatever happens while the jobs are read lies after it.
            cursor = read_range(connection).newest
            numbers = find_numbers(connection, wanted, size=size + 1, before=before)
            found = read_rows(connection, numbers[:size])
        more = numbers[size - 1] if len(numbers) > size else None
        return Page(jobs=tuple(map(rows.to_job, found)), before=more, cursor=cursor)

    def changes_after(self, cursor: int, limit: int = 500) -> tuple[Change | Removed, ...]:
        """Give at most `limit` of what happened over all jobs after a cursor, in order."""
        with self._reader.connect() as connection:
            return self._changes.read(connection, cursor, limit)

    def cursors(self) -> Range:
        """Tell which cursors can be gone on from."""
        with self._reader.connect() as connection:
            return read_range(connection)

    def count(self, state: JobState) -> int:
        """Count the jobs in a state that is not terminal."""
        return self._live.count(state)

    def unrecorded(self, limit: int) -> Sequence[str]:
        """Give ended jobs whose record at Prefect is not known to be complete, oldest first."""
        jobs = schema.jobs.c
        ended = [state.value for state in TERMINAL_JOB_STATES]
        query = select(jobs.id).where(jobs.recorded == text("0"), jobs.state.in_(ended)).order_by(jobs.number)
        with self._reader.connect() as connection:
            return connection.scalars(query.limit(limit)).all()

    def ended(self) -> tuple[Job, ...]:
        """Give every job that has ended, oldest first, without its parts."""
        states = [state.value for state in TERMINAL_JOB_STATES]
        query = select(schema.jobs).where(schema.jobs.c.state.in_(states)).order_by(schema.jobs.c.number)
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

    def _load_live(self) -> list[Live]:
        jobs = schema.jobs.c
        states = [state.value for state in LIVE_JOB_STATES]
        with self._reader.connect() as connection:
            ids = connection.scalars(select(jobs.id).where(jobs.state.in_(states))).all()
            return [load(connection, select(schema.jobs).where(jobs.id == job_id), job_id) for job_id in ids]


def load(connection: Connection, query: "Select[tuple[object, ...]]", job_id: str) -> Live:
    """Read a job with all its parts; JobNotFoundError when the query finds none."""
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise JobNotFoundError(f"there is no job {job_id!r}", hint="`jobctl list` shows the jobs there are")
    number = row["number"]
    parts = [
        connection.execute(select(table).where(table.c.job == number).order_by(table.c.place)).mappings().all()
        for table in (schema.entries, schema.artifacts)
    ]
    return Live(number, rows.to_job(row, parts[0], parts[1]))


def find_request(connection: Connection, request_id: str, request_digest: str) -> str | None:
    """Give the id of the job that a request_id made; RequestIdReusedError when its content was other."""
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


def _made_of(job_id: str, column: Column[T]) -> Select[T]:
    """Ask for what a job was made of."""
    return select(column).join_from(schema.plans, schema.jobs).where(schema.jobs.c.id == job_id)
