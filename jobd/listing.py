"""Finding jobs, newest first. Only indexes are searched, as there may be very many rows."""

import heapq
from collections.abc import Iterable, Sequence
from itertools import islice

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, select

from jobd import schema
from jobd.job_filter import JobFilter, LabelSelector
from jobd.states import JobState

_LAST_LETTER = "\U0010ffff"


def find_numbers(connection: Connection, wanted: JobFilter, *, size: int, before: int | None) -> list[int]:
    """Give the numbers of at most `size` jobs that were accepted before number `before`, newest first."""
    # Of each state on its own: an index gives the numbers of one state in order, but not those of several.
    queries = number_queries(wanted, before=before)
    found: list[list[int]] = [list(connection.scalars(query.limit(size))) for query in queries]
    return list(islice(heapq.merge(*found, reverse=True), size))


def read_rows(connection: Connection, numbers: Sequence[int]) -> Sequence[RowMapping]:
    """Read what a list shows of jobs, in the order of their numbers."""
    if not numbers:
        return []
    query = select(schema.jobs).where(schema.jobs.c.number.in_(numbers))
    rows = {row["number"]: row for row in connection.execute(query).mappings()}
    return [rows[number] for number in numbers if number in rows]


def number_queries(wanted: JobFilter, *, before: int | None) -> list[Select[tuple[int]]]:
    """Make the queries that find the numbers, one for each state that is asked for."""
    states: list[JobState | None] = [*sorted(wanted.states)] or [None]
    return [_number_query(wanted, state, before) for state in states]


def _number_query(wanted: JobFilter, state: JobState | None, before: int | None) -> Select[tuple[int]]:
    jobs = schema.jobs.c
    conditions = [*_conditions(wanted), *(_has(selector) for selector in wanted.labels)]
    if state is not None:
        conditions.append(jobs.state == state.value)
    if before is not None:
        conditions.append(jobs.number < before)
    return select(jobs.number).where(*conditions).order_by(jobs.number.desc())


def _conditions(wanted: JobFilter) -> Iterable[ColumnElement[bool]]:
    jobs = schema.jobs.c
    if wanted.name:
        yield jobs.name == wanted.name
    if wanted.name_prefix:
        # A range instead of LIKE: no character of it has a second meaning.
        yield jobs.name.between(wanted.name_prefix, wanted.name_prefix + _LAST_LETTER)
    if wanted.owner:
        yield jobs.owner == wanted.owner
    if wanted.submitted_after is not None:
        yield jobs.submitted >= wanted.submitted_after
    if wanted.submitted_before is not None:
        yield jobs.submitted < wanted.submitted_before


def _has(selector: LabelSelector) -> ColumnElement[bool]:
    labels = schema.job_labels.c
    query = select(labels.job).where(labels.key == selector.key)
    if selector.value is not None:
        query = query.where(labels.value == selector.value)
    return schema.jobs.c.number.in_(query)
