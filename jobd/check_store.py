"""Checking the store by itself: the file is whole, and every job is what its events say."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError
from sqlalchemy import Connection, select

from jobd import rows, schema
from jobd.database import HEAD, open_reader
from jobd.errors import IllegalTransitionError, StorageError
from jobd.finding import Finding
from jobd.history import replay
from jobd.jobs import Job, new_job
from jobd.plan import Plan

_RESTORE = "put a backup in its place"
_DELETE = "restore a backup, or delete the job"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJob:
    """A job as its rows say."""

    job: Job
    plan: str
    """As JSON."""
    journal_offset: int


def open_copy(path: Path) -> sqlite3.Connection:
    """Open a database file for reading only; StorageError when there is none, or it is of another version."""
    if not path.is_file():
        raise StorageError(f"there is no {path}", hint="is this the state directory of a daemon?")
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=30.0)
    try:
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone() or ("",)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StorageError(f"{path} cannot be read: {error}", hint=_RESTORE) from error
    if revision != HEAD:
        connection.close()
        raise StorageError(
            f"{path} has the schema {revision!r}, this version of jobd knows {HEAD!r}",
            hint="use the version of jobd that wrote it, or start this one on it to bring it up to date",
        )
    return connection


def check_file(path: Path) -> tuple[Finding, ...]:
    """Check the database's pages, indexes and references; StorageError when it cannot be opened."""
    connection = open_copy(path)
    try:
        broken = [row[0] for row in connection.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
        lost = [f"row {row[1]} of {row[0]} belongs to no job" for row in connection.execute("PRAGMA foreign_key_check")]
    except sqlite3.DatabaseError as error:
        broken, lost = [str(error)], []
    finally:
        connection.close()
    return tuple(Finding(where=path.name, what=what, repair=_RESTORE) for what in (*broken, *lost))


def stored_jobs(path: Path) -> Iterator[tuple[StoredJob, Finding | None]]:
    """Give every job, and what is wrong with its history; each is read as it is at one moment."""
    engine = open_reader(path)
    try:
        with engine.connect() as connection:
            for number in connection.scalars(select(schema.jobs.c.number).order_by(schema.jobs.c.number)).all():
                connection.exec_driver_sql("BEGIN")
                found = _read(connection, number)
                connection.exec_driver_sql("COMMIT")
                if found is not None:
                    yield found
    finally:
        engine.dispose()


def _read(connection: Connection, number: int) -> tuple[StoredJob, Finding | None] | None:
    jobs, plans = schema.jobs, schema.plans
    query = select(jobs, plans.c.plan).join_from(jobs, plans, isouter=True).where(jobs.c.number == number)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None  # deleted in between
    entries, artifacts = (
        connection.execute(select(table).where(table.c.job == number).order_by(table.c.place)).mappings().all()
        for table in (schema.entries, schema.artifacts)
    )
    stored = StoredJob(
        job=rows.to_job(row, entries, artifacts), plan=row["plan"] or "", journal_offset=row["journal_offset"]
    )
    return stored, _check_history(connection, number, stored)


def _check_history(connection: Connection, number: int, stored: StoredJob) -> Finding | None:
    job, where = stored.job, f"job {stored.job.id}"
    query = select(schema.events).where(schema.events.c.job == number).order_by(schema.events.c.sequence)
    try:
        plan = Plan.model_validate_json(stored.plan)
        first = new_job(job.id, plan, submitted=job.submitted, retry_of=job.retry_of)
        told = replay(first, map(rows.to_record, connection.execute(query).mappings()))
    except (IllegalTransitionError, ValidationError) as error:
        return Finding(where=where, what=f"its events cannot be followed: {_first_line(error)}", repair=_DELETE)
    if told.sequence != job.sequence:
        what = f"its row says that it has {job.sequence} events, and there are {told.sequence}"
        return Finding(where=where, what=what, repair=_DELETE)
    # Which flow run is its record, and that it is complete, is no event of the job.
    told = replace(told, recorded=job.recorded, flow_run_id=job.flow_run_id)
    if told == job:
        return None
    return Finding(
        where=where,
        what=f"its rows differ from its events in {_differences(job, told)}",
        repair="make the rows what the events say",
        mend=lambda store: store.rewrite(told).result(),
    )


def _differences(job: Job, told: Job) -> str:
    names = [item.name for item in fields(Job) if item.compare and getattr(job, item.name) != getattr(told, item.name)]
    return ", ".join(names)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
