"""Inserts of many rows: they reach the database as one statement with many parameters, and mean the same as before."""

import pytest
import sqlalchemy as sa
from prefect.server.database.orm_models import Base as PrefectBase
from sqlalchemy import event, orm

from jobd import prefect_inserts
from jobd.prefect_inserts import BatchInsert


class Base(orm.DeclarativeBase):
    """The tables of these tests."""


class Line(Base):
    """A row with a default that Python makes."""

    __tablename__ = "line"

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    text: orm.Mapped[str | None]
    mark: orm.Mapped[str] = orm.mapped_column(default=lambda: "made")


@pytest.fixture
def session():
    """A session whose inserts are compiled once, and what its driver was given: each text, and whether in many."""
    prefect_inserts.compile_inserts_once()
    prefect_inserts.compile_inserts_once()
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    seen = []

    @event.listens_for(engine, "before_cursor_execute")
    def _note(_connection, _cursor, text, _parameters, _context, many):
        if text.startswith("INSERT"):
            seen.append((text, many))

    with orm.Session(engine) as opened:
        yield opened, seen
    event.remove(orm.Session, "do_orm_execute", prefect_inserts._execute)
    engine.dispose()


def rows(session):
    """Give what the table holds."""
    return [tuple(row) for row in session.execute(sa.select(Line.id, Line.text, Line.mark).order_by(Line.id))]


def test_batches_of_any_size_are_one_statement_for_one_row(session):
    """Two batches of different sizes must be given to the driver with the same text, and every row be there."""
    opened, seen = session
    opened.execute(BatchInsert(Line).values([{"id": number, "text": f"t{number}"} for number in range(3)]))
    opened.execute(BatchInsert(Line).values([{"id": number, "text": None} for number in range(3, 8)]))
    opened.commit()
    assert [many for _text, many in seen] == [True, True]
    assert len({text for text, _many in seen}) == 1
    assert seen[0][0].count("?") == 3
    assert rows(opened) == [(n, f"t{n}" if n < 3 else None, "made") for n in range(8)]


def test_what_is_to_happen_on_a_conflict_still_happens(session):
    """Rows that are there already must be updated or left alone, as the statement says."""
    opened, seen = session
    opened.execute(BatchInsert(Line).values([{"id": 1, "text": "old"}, {"id": 2, "text": "old"}]))
    ignoring = BatchInsert(Line).values([{"id": 2, "text": "new"}, {"id": 3, "text": "new"}])
    opened.execute(ignoring.on_conflict_do_nothing(index_elements=["id"]))
    updating = BatchInsert(Line).values([{"id": 1, "text": "last"}, {"id": 4, "text": "last"}])
    opened.execute(
        updating.on_conflict_do_update(
            index_elements=["id"],
            set_={"text": sa.func.coalesce(updating.excluded.text, Line.text)},
            where=Line.text < "z",
        )
    )
    assert [many for _text, many in seen] == [True] * 3
    assert [row[:2] for row in rows(opened)] == [(1, "last"), (2, "old"), (3, "new"), (4, "last")]


def test_a_batch_that_fails_leaves_nothing_of_it(session):
    """When one row of a batch cannot be inserted, the caller must hear of it and roll back all."""
    opened, _seen = session
    with pytest.raises(sa.exc.IntegrityError):
        opened.execute(BatchInsert(Line).values([{"id": 1, "text": "a"}, {"id": 1, "text": "b"}]))
    opened.rollback()
    assert rows(opened) == []


@pytest.mark.parametrize(
    "statement",
    [
        BatchInsert(Line).values([{"id": 1, "text": sa.func.upper("a")}, {"id": 2, "text": "b"}]),
        BatchInsert(Line).values([{"id": 1, "text": "A"}, {"id": 2, "text": "b"}]).returning(Line.id),
        BatchInsert(Line).values([{"id": 1, "text": "A"}]).values([{"id": 2, "text": "b"}]),
    ],
    ids=["an expression", "a result", "two lists"],
)
def test_what_cannot_be_given_as_parameters_is_executed_as_it_came(session, statement):
    """Statements with more than plain values in them must mean what they meant."""
    opened, seen = session
    opened.execute(statement).close()
    assert [many for _text, many in seen] == [False]
    assert [row[:2] for row in rows(opened)] == [(1, "A"), (2, "b")]


def test_without_a_session_no_row_is_lost(session):
    """A statement that a connection is given must insert what it was made with."""
    opened, _seen = session
    opened.connection().execute(BatchInsert(Line).values([{"id": 1, "text": "a"}, {"id": 2, "text": "b"}]))
    assert [row[:2] for row in rows(opened)] == [(1, "a"), (2, "b")]


def test_a_name_that_is_no_column_is_refused(session):
    """A row with something that the table does not have must not be inserted without it."""
    opened, _seen = session
    with pytest.raises(sa.exc.SQLAlchemyError, match="other"):
        opened.execute(BatchInsert(Line).values([{"id": 1, "other": "a"}, {"id": 2, "other": "b"}]))


def test_no_name_of_prefects_models_means_another_column():
    """What a row calls a column by its name must be that column, also where a model has another name for it."""
    for mapper in PrefectBase.registry.mappers:
        columns = mapper.local_table.columns
        renamed = {mapper.get_property_by_column(column).key: column.key for column in columns}
        assert not [name for name, column in renamed.items() if name != column and name in columns], mapper
