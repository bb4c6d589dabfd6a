"""How the embedded Prefect server's inserts of many rows reach its database: as one statement that is compiled once.

Prefect writes a batch as one INSERT with a value list for each row, because it supports databases that need that.
SQLAlchemy cannot keep such a statement: it makes an expression of every value of every row, then a text and a bind
parameter, each time. The texts took half of the server's processor time, the expressions a seventh of the rest.
The same rows as the parameters of a statement for one row cost a fraction of that. Prefect makes its statements here
(prefect_database.py), and SQLAlchemy has a hook for whoever wants to execute one in another way; what does not look as
expected is executed as it came.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from sqlalchemy import ClauseElement, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Connection, CursorResult, Result
from sqlalchemy.orm import ORMExecuteState, Session

Rows = Sequence[Mapping[str, object]]

_WORTH = 2
"""One row is a statement that can be kept already."""


class BatchInsert(sqlite.Insert):
    """An insert that keeps the rows it is given apart from itself until a session executes it."""

    inherit_cache = True
    apart: Rows = ()
    """The rows, where there are many; they are no part of the statement yet."""

    def values(self, *values: Any, **named: Any) -> Self:  # noqa: ANN401 - as it is where it comes from
        """Give one with these values; see sqlalchemy.Insert.values."""
        if self.apart:
            return self.joined().values(*values, **named)
        if named or len(values) != 1 or not _are_plain(values[0], self.table.columns.keys()):
            return super().values(*values, **named)
        made = self._generate()
        made.apart = values[0]
        return made

    def joined(self) -> Self:
        """Give one that has its rows as its values."""
        joined, rows = self.parted()
        return super(BatchInsert, joined).values(rows)

    def parted(self) -> tuple[Self, Rows]:
        """Give one for a single row, and the rows."""
        bare = self._generate()
        bare.apart = ()
        return bare, self.apart

    def _execute_on_connection(self, connection: Connection, *rest: Any) -> CursorResult[Any]:  # noqa: ANN401 - as above
        """Be executed without a session, which knows nothing of rows that are kept apart."""
        if self.apart:
            return self.joined()._execute_on_connection(connection, *rest)  # noqa: SLF001 - its own kind
        return super()._execute_on_connection(connection, *rest)


def compile_inserts_once() -> None:
    """Have every session of this process execute a BatchInsert as a statement for one row with many parameters."""
    if not event.contains(Session, "do_orm_execute", _execute):
        event.listen(Session, "do_orm_execute", _execute)


def _execute(state: ORMExecuteState) -> Result[tuple[object, ...]] | None:
    """Give the result of an insert of many rows; None leaves a statement to the session."""
    statement = state.statement
    if not isinstance(statement, BatchInsert) or not statement.apart:
        return None
    options = state.local_execution_options
    bare, rows = statement.parted()
    if state.parameters or statement._returning:  # noqa: SLF001 - no public way
        return state.session.execute(
            statement.joined(), state.parameters, execution_options=options, bind_arguments=state.bind_arguments
        )
    # The rows are the table's, not objects': without this they would be taken through the mapper one by one.
    options = options.union({"dml_strategy": "raw"})
    return state.session.execute(bare, rows, execution_options=options, bind_arguments=state.bind_arguments)


def _are_plain(rows: object, columns: list[str]) -> bool:
    """Tell whether these are many rows of plain values for the same columns."""
    if not isinstance(rows, list) or len(rows) < _WORTH or not isinstance(rows[0], dict):
        return False
    names = rows[0].keys()
    return names <= set(columns) and all(
        row.keys() == names and not any(isinstance(value, ClauseElement) for value in row.values()) for row in rows
    )
