"""What happened over all jobs, in one order, from the store: a cursor is a place in it.

The one writer gives places in the order of its commits, so whoever has read up to a place has missed nothing before it.
A removal takes a place of its own, after everything that it takes away.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import CompoundSelect, Connection, RowMapping, Table, func, literal_column, select, union_all

from jobd import schema
from jobd.events import JOB_EVENT, Record
from jobd.states import JobState

_MOST_FACTS = 10_000
"""So many jobs are remembered by their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """What never changes of a job."""

    id: str
    name: str
    owner: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An event in its place among those of all jobs."""

    position: int
    job: JobFacts
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """The removal of a job, in its place among the events of all jobs."""

    position: int
    job: JobFacts
    state: JobState
    last_sequence: int
    time: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The cursors that can be gone on from."""

    oldest: int
    """After it, every removal is known."""
    newest: int
    """After it, nothing has happened yet."""


class ChangeReader:
    """Reads on from a cursor. The facts of jobs are remembered, because a row of theirs may be 2 MiB long."""

    def __init__(self) -> None:
        """Begin with nothing remembered."""
        self._facts: dict[int, JobFacts] = {}

    def read(self, connection: Connection, cursor: int, limit: int) -> tuple[Change | Removed, ...]:
        """Give at most `limit` of what happened after a cursor, in order."""
        rows = connection.execute(_after(cursor, limit)).mappings().all()
        facts = self._find_facts(connection, {row["job"] for row in rows})
        return tuple(_read(row, facts[row["job"]]) for row in rows if row["job"] in facts)

    def _find_facts(self, connection: Connection, numbers: set[int]) -> Mapping[int, JobFacts]:
        known = self._facts
        missing = numbers - known.keys()
        # A job that was removed a moment ago is looked for among the removals.
        for table, key in ((schema.jobs, "number"), (schema.removals, "job")):
            if missing:
                found = _read_facts(connection, table, key, missing)
                known = known | found
                missing -= found.keys()
        self._facts = dict(list(known.items())[-_MOST_FACTS:]) if len(known) > _MOST_FACTS else dict(known)
        return known


def read_range(connection: Connection) -> Range:
    """Tell which cursors can be gone on from."""
    removals = schema.removals.c
    first = connection.execute(select(removals.number, removals.position).order_by(removals.number).limit(1)).first()
    newest = [connection.scalar(select(func.max(table.c.position))) or 0 for table in (schema.removals, schema.events)]
    return Range(oldest=0 if first is None or first.number == 1 else first.position - 1, newest=max(newest))


def _after(cursor: int, limit: int) -> CompoundSelect[tuple[object, ...]]:
    events, removals = schema.events.c, schema.removals.c
    happened = select(
        events.position, events.job, events.sequence, events.time, events.event, literal_column("''").label("state")
    ).where(events.position > cursor)
    removed = select(
        removals.position,
        removals.job,
        removals.sequence,
        removals.time,
        literal_column("''").label("event"),
        removals.state,
    ).where(removals.position > cursor)
    # Ordered as it is, and not as a subquery: both halves are then read in order and no further than the limit.
    return union_all(happened, removed).order_by("position").limit(limit)


def _read_facts(connection: Connection, table: Table, key: str, numbers: Iterable[int]) -> dict[int, JobFacts]:
    columns = table.c
    query = select(columns[key].label("number"), columns.id, columns.name, columns.owner, columns.labels)
    rows = connection.execute(query.where(columns[key].in_(sorted(numbers)))).all()
    return {
        row.number: JobFacts(id=row.id, name=row.name, owner=row.owner, labels=json.loads(row.labels)) for row in rows
    }


def _read(row: RowMapping, facts: JobFacts) -> Change | Removed:
    if row["event"]:
        record = Record(sequence=row["sequence"], time=row["time"], event=JOB_EVENT.validate_json(row["event"]))
        return Change(position=row["position"], job=facts, record=record)
    return Removed(
        position=row["position"],
        job=facts,
        state=JobState(row["state"]),
        last_sequence=row["sequence"],
        time=row["time"],
    )
