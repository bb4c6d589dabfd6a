"""What a change of a job writes, in the transaction of the change: rows, and only those columns that it changes."""

from collections.abc import Sequence
from time import time

from sqlalchemy import Connection, delete, insert

from jobd import rows, schema
from jobd.events import ArtifactPublished, ArtifactRemoved, EntryEvent, JobRecovering, Record
from jobd.failpoints import failpoint
from jobd.jobs import Job
from jobd.live_jobs import Live
from jobd.statements import READ_OFFSET, UPDATE_ARTIFACT, UPDATE_ENTRY, insert_rows, update_job

_MOST_REMOVALS = 50_000
"""So many removals are told to who watches all jobs; a watcher that comes later than that must list them anew."""


def add_job(connection: Connection, job: Job, values: rows.Row, made_of: rows.Row) -> int:
    """Write a job with its parts, these values of its row, and its file and plan; give its number."""
    number: int = connection.execute(insert(schema.jobs).values(values)).inserted_primary_key[0]  # type: ignore[index]
    connection.execute(insert(schema.plans).values(made_of | {"job": number}))
    insert_rows(connection, schema.job_labels, rows.label_rows(number, job))
    add_parts(connection, number, job)
    return number


def add_parts(connection: Connection, number: int, job: Job) -> None:
    """Write the entries and artifacts of a job."""
    insert_rows(connection, schema.entries, [rows.entry_row(number, *item) for item in enumerate(job.entries)])
    insert_rows(connection, schema.artifacts, [rows.artifact_row(number, *item) for item in enumerate(job.artifacts)])


def rewrite_job(connection: Connection, number: int, job: Job, values: rows.Row) -> None:
    """Make all rows of a job what `job` says, and these values of its own row."""
    change_job(connection, number, rows.job_row(job) | values)
    for table in (schema.entries, schema.artifacts):
        connection.execute(delete(table).where(table.c.job == number))
    add_parts(connection, number, job)


def record(connection: Connection, before: Live, job: Job, records: Sequence[Record], values: rows.Row) -> None:
    """Write events that made `job` of the one before, what they changed, and these values of the job's row."""
    if records:
        insert_rows(connection, schema.events, [rows.event_row(before.number, each) for each in records])
        _update_parts(connection, before.number, job, records)
        values = values | rows.job_changes(before.job, job)
    for each in records:
        failpoint(f"store.before.{each.event.kind}")
    if values:
        change_job(connection, before.number, values)


def change_job(connection: Connection, number: int, values: rows.Row) -> None:
    """Write these values of a job's row."""
    update_job(tuple(values)).run(connection, [values | {"this_number": number}])


def read_offset(connection: Connection, job_id: str) -> int | None:
    """Give how many bytes of a job's journal were taken in; None when there is no such job."""
    return READ_OFFSET.read(connection, {"id": job_id})


def remove_job(connection: Connection, live: Live) -> None:
    """Remove all rows of a job, and keep in their place that it is gone."""
    now, job = time(), live.job
    # Only the table of events gives places in the order of all jobs: an event is written to have one, and goes again.
    values = {"job": live.number, "sequence": job.sequence + 1, "time": now, "event": ""}
    position = connection.execute(insert(schema.events).values(values)).inserted_primary_key[0]  # type: ignore[index]
    # Events, entries, artifacts and labels go with it.
    connection.execute(delete(schema.jobs).where(schema.jobs.c.number == live.number))
    removal = insert(schema.removals).values(rows.removal_row(live.number, job, position=position, time=now))
    latest = connection.execute(removal).inserted_primary_key[0]  # type: ignore[index]
    connection.execute(delete(schema.removals).where(schema.removals.c.number <= latest - _MOST_REMOVALS))


def _update_parts(connection: Connection, number: int, job: Job, records: Sequence[Record]) -> None:
    entries, artifacts = _touched(job, records)
    changed = [rows.entry_update(number, place, job.entries[place]) for place in sorted(entries)]
    UPDATE_ENTRY.run(connection, changed)
    changed = [rows.artifact_update(number, place, job.artifacts[place]) for place in sorted(artifacts)]
    UPDATE_ARTIFACT.run(connection, changed)


def _touched(job: Job, records: Sequence[Record]) -> tuple[set[int], set[int]]:
    entries: set[int] = set()
    artifacts: set[int] = set()
    for each in records:
        event = each.event
        if isinstance(event, JobRecovering):
            entries.update(range(len(job.entries)))
        elif isinstance(event, ArtifactPublished | ArtifactRemoved):
            artifacts.add(job.artifact_places[event.name])
        elif isinstance(event, EntryEvent):
            entries.add(job.places[event.step, event.entry])
    return entries, artifacts
