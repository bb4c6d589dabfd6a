"""How the embedded Prefect server's inserts of many rows reach its database: as one statement that is compiled once.

Prefect writes a batch as one INSERT with a value list for each row, because it supports databases that need that.
SQLAlchemy cannot keep such a statement: it builds the text and a bind parameter for every value of every row each time,
which was half of the server's processor time. The same rows as the parameters of a statement for one row
cost a fraction of that. It is done by SQLAlchemy's own hook for whoever wants to execute a statement in another way, so
nothing of Prefect is replaced, and what does not look as expected is executed as it came.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import ClauseElement, Insert, event
from sqlalchemy.engine import Result
from sqlalchemy.orm import ORMExecuteState, Session

Rows = Sequence[Mapping[str, object]]

_WORTH = 2
"""One row is a statement that can be kept already."""


def compile_inserts_once() -> None:
    """Execute multi-row inserts of every session of this process row by row, within the same transaction."""
    if not event.contains(Session, "do_orm_execute", _execute):
        event.listen(Session, "do_orm_execute", _execute)


def _execute(state: ORMExecuteState) -> Result[tuple[object, ...]] | None:
    """Give the result of an insert of many rows; None leaves a statement to the session."""
    statement = state.statement
    if not isinstance(statement, Insert) or state.parameters or statement._returning:  # noqa: SLF001 - no public way
        return None
    if (rows := _rows(statement)) is None:
        return None
    # The rows are the table's, not objects': without this they would be taken through the mapper one by one.
    options = state.local_execution_options.union({"dml_strategy": "raw"})
    return state.session.execute(
        _without_rows(statement), rows, execution_options=options, bind_arguments=state.bind_arguments
    )


def _rows(statement: Insert) -> Rows | None:
    """Give the rows of an insert; None when it has one, or when they are no plain values under the same names."""
    lists: Sequence[Sequence[Mapping[object, object]]] = getattr(statement, "_multi_values", ())
    if len(lists) != 1 or len(lists[0]) < _WORTH:
        return None
    rows = [{str(getattr(column, "key", column)): value for column, value in row.items()} for row in lists[0]]
    names = rows[0].keys()
    plain = all(row.keys() == names and not any(isinstance(v, ClauseElement) for v in row.values()) for row in rows)
    return rows if plain else None


def _without_rows(statement: Insert) -> Insert:
    bare = statement._generate()  # noqa: SLF001 - what every method of a statement begins with
    bare._multi_values = ()  # noqa: SLF001 - no public way
    return bare
