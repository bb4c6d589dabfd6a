"""The statements that every event costs, compiled once: that takes longer than SQLite takes over them.

They are made from the schema like any other, and then handed to the driver as text.
"""

from collections.abc import Iterable, Sequence
from functools import cache

from sqlalchemy import Connection, Delete, Insert, Select, Table, Update, bindparam, insert, select, update
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from jobd import schema
from jobd.rows import ARTIFACT_CHANGES, ENTRY_CHANGES, Row
from jobd.writer import driver

_DIALECT = SQLiteDialect_pysqlite(paramstyle="named")
_KEY = "this_"
"""Columns of a key are bound under other names, because an update takes the plain ones as new values."""

_Construct = Insert | Update | Delete | Select[tuple[int]]


class Statement:
    """A statement that is compiled once. Its values are the driver's: texts, numbers, None."""

    def __init__(self, construct: _Construct, names: Sequence[str] | None = None) -> None:
        """Compile it; `names` are the columns that an insert fills."""
        self.text = str(construct.compile(dialect=_DIALECT, column_keys=names))

    def run(self, connection: Connection, values: Iterable[Row]) -> None:
        """Execute it with each of these values; sqlite3.Error when the database refuses."""
        driver(connection).executemany(self.text, values)

    def read(self, connection: Connection, values: Row) -> int | None:
        """Give the first column of the first row that it finds; None when it finds none."""
        row = driver(connection).execute(self.text, values).fetchone()
        return None if row is None else int(row[0])


def _update_part(table: Table, names: Iterable[str]) -> Statement:
    """Make the update of one entry or artifact, whose key is `this_job` and `this_place`."""
    keyed = update(table).where(table.c.job == bindparam(f"{_KEY}job"), table.c.place == bindparam(f"{_KEY}place"))
    return Statement(keyed.values({name: bindparam(name) for name in names}))


@cache
def update_job(names: tuple[str, ...]) -> Statement:
    """Give the update of these columns of the job `this_number`; there are few sets of columns that change together."""
    keyed = update(schema.jobs).where(schema.jobs.c.number == bindparam(f"{_KEY}number"))
    return Statement(keyed.values({name: bindparam(name) for name in names}))


@cache
def _insert_into(table: Table, names: tuple[str, ...]) -> Statement:
    return Statement(insert(table), names)


def insert_rows(connection: Connection, table: Table, values: Sequence[Row]) -> None:
    """Insert rows that all have the same columns; nothing happens without any."""
    if values:
        _insert_into(table, tuple(values[0])).run(connection, values)


UPDATE_ENTRY = _update_part(schema.entries, ENTRY_CHANGES)
UPDATE_ARTIFACT = _update_part(schema.artifacts, ARTIFACT_CHANGES)
READ_OFFSET = Statement(select(schema.jobs.c.journal_offset).where(schema.jobs.c.id == bindparam("id")))
