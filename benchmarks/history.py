"""A long past: a store that is filled with copies of one job while its daemon is down.

A hundred thousand events of real jobs would take most of an hour. What is copied are the rows of a job that really ran,
in every table that has some, so that the store is as if that job had run so many times; only its files are missing.
"""

import contextlib
import sqlite3
import uuid
from pathlib import Path

from benchmarks.daemon import BenchmarkError


def multiply(database: Path, job_id: str, events: int) -> int:
    """Copy a job until the store has so many events; give the number of events."""
    with contextlib.closing(sqlite3.connect(database)) as store, store:
        (number,) = store.execute("SELECT number FROM jobs WHERE id = ?", (job_id,)).fetchone()
        (each,) = store.execute("SELECT count(*) FROM events WHERE job = ?", (number,)).fetchone()
        if not each:
            raise BenchmarkError(f"the job {job_id} has no events to copy")
        times = -(-events // each) - 1
        for place in range(times):
            _copy(store, number, number + 1 + place)
        return int((times + 1) * each)


def _copy(store: sqlite3.Connection, number: int, new: int) -> None:
    own = {"number": new, "id": uuid.uuid4().hex, "request_id": None}
    _copy_rows(store, "jobs", "number", number, own)
    for table in _tables_of_jobs(store):
        _copy_rows(store, table, "job", number, {"job": new, "position": None})


def _tables_of_jobs(store: sqlite3.Connection) -> list[str]:
    tables = [name for (name,) in store.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    return [table for table in tables if "job" in _columns(store, table)]


def _columns(store: sqlite3.Connection, table: str) -> list[str]:
    return [name for _, name, *_ in store.execute(f'PRAGMA table_info("{table}")')]


def _copy_rows(store: sqlite3.Connection, table: str, key: str, number: int, own: dict[str, object]) -> None:
    """Copy the rows of a job in a table, with other values in some columns; a None is given by the store."""
    columns = _columns(store, table)
    values = [f":{name}" if name in own else f'"{name}"' for name in columns]
    names = ", ".join(f'"{name}"' for name in columns)
    question = f'INSERT INTO "{table}" ({names}) SELECT {", ".join(values)} FROM "{table}" WHERE "{key}" = :from_number'
    store.execute(question, own | {"from_number": number})
