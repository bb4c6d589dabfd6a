"""The SQLite file of Prefect's server: who reads first and writes later is not refused, and memory is bounded."""

import asyncio
import sqlite3

import pytest
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from jobd.prefect_database import CACHE_KIB, SharedFile


@pytest.fixture
def path(tmp_path):
    """A database with one row."""
    found = tmp_path / "prefect.db"
    with sqlite3.connect(found) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE run (name TEXT)")
        connection.execute("INSERT INTO run VALUES ('first')")
    connection.close()
    return found


def write_beside(path):
    """Write by another connection that waits for nobody; tell whether it could."""
    connection = sqlite3.connect(path, timeout=0)
    try:
        with connection:
            connection.execute("INSERT INTO run VALUES ('beside')")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True


async def read_then_write(configuration, path):
    """Read, have somebody else write, then write; tell whether the other one could."""
    engine = await configuration.engine()
    try:
        async with await configuration.session(engine) as session, configuration.begin_transaction(session):
            await session.execute(text("SELECT * FROM run"))
            wrote = write_beside(path)
            await session.execute(text("INSERT INTO run VALUES ('last')"))
        return wrote
    finally:
        await engine.dispose()


async def read_cache_size(configuration):
    """Ask a new connection what it may keep in memory, in SQLite's terms: KiB where it is negative."""
    engine = await configuration.engine()
    try:
        async with await configuration.session(engine) as session:
            return (await session.execute(text("PRAGMA cache_size"))).scalar_one()
    finally:
        await engine.dispose()


def rows(path):
    """Give what the table holds."""
    connection = sqlite3.connect(path)
    try:
        return [name for (name,) in connection.execute("SELECT name FROM run ORDER BY rowid")]
    finally:
        connection.close()


def test_nobody_writes_between_its_first_look_and_its_change(path):
    """Its turn began with it: the other one has to wait, and its own change is taken."""
    configuration = SharedFile(connection_url=f"sqlite+aiosqlite:///{path}")
    assert asyncio.run(read_then_write(configuration, path)) is False
    assert rows(path) == ["first", "last"]
    assert write_beside(path)


def test_as_shipped_the_change_is_refused(path):
    """When a release of Prefect passes this no more, jobd/prefect_database.py may not be needed any more."""
    configuration = AioSqliteConfiguration(connection_url=f"sqlite+aiosqlite:///{path}")
    with pytest.raises(OperationalError, match="database is locked"):
        asyncio.run(read_then_write(configuration, path))
    assert rows(path) == ["first", "beside"]


def test_a_connection_keeps_little_of_the_file(path):
    """As shipped it may be ten times as much, for each of them."""
    configuration = SharedFile(connection_url=f"sqlite+aiosqlite:///{path}")
    assert asyncio.run(read_cache_size(configuration)) == -CACHE_KIB
