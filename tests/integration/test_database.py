"""The file under the store: how it is opened, what is refused, and how changes share a commit."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from jobd.database import HEAD, open_reader, open_writer
from jobd.errors import DrainingError, StorageError
from jobd.schema import metadata
from jobd.writer import Writer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the path of a database that does not exist yet."""
    return tmp_path / "jobd.db"


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    """Give a writer whose `commits` and `rollbacks` count what it was told of."""
    counts = {"commits": 0, "rollbacks": 0}

    def count(name: str) -> Callable[[], None]:
        return lambda: counts.__setitem__(name, counts[name] + 1)

    made = Writer(open_writer(path), committed=count("commits"), rolled_back=count("rollbacks"))
    made.counts = counts
    made.submit(lambda connection: connection.execute(text("CREATE TABLE note (number INTEGER UNIQUE)"))).result(10)
    yield made
    made.close()


def note(number: int) -> Callable[[Connection], int]:
    """Make a change that writes a number down once, and gives it."""

    def work(connection: Connection) -> int:
        connection.execute(text("INSERT INTO note VALUES (:number)"), {"number": number})
        return number

    return work


def noted(path: Path) -> list[int]:
    """Give the numbers that are on disk."""
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute("SELECT number FROM note ORDER BY number")]
    finally:
        connection.close()


def test_it_is_opened_as_the_design_says(path: Path):
    """The journal mode is WAL, every commit is synced, foreign keys hold."""
    engine = open_writer(path)
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "trusted_schema")
        }
    engine.dispose()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "trusted_schema": 0}


def test_transactions_take_the_lock_at_their_beginning(path: Path):
    """A transaction is BEGIN IMMEDIATE, so that it never fails for a lock in its middle."""
    engine = open_writer(path)
    said: list[str] = []
    with engine.begin() as connection:
        connection.connection.driver_connection.set_trace_callback(said.append)
        connection.exec_driver_sql("SELECT 1")
    engine.dispose()
    with open_reader(path).connect() as reader:
        assert reader.exec_driver_sql("PRAGMA query_only").scalar() in (0, 1)
    other = sqlite3.connect(path, timeout=0, isolation_level=None)
    engine = open_writer(path)
    with engine.begin(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.close()
    engine.dispose()


def test_a_reader_cannot_write(path: Path):
    """Only the one writer's connection can change anything."""
    open_writer(path).dispose()
    engine = open_reader(path)
    with engine.connect() as connection, pytest.raises(Exception, match="readonly"):
        connection.exec_driver_sql("DELETE FROM jobs")
    engine.dispose()


def test_the_migrations_make_exactly_the_tables(path: Path):
    """What the migrations leave differs in nothing from the tables that the code knows, and is at the newest one."""
    engine = open_writer(path)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == HEAD
    engine.dispose()


def test_opening_again_changes_nothing(path: Path):
    """A database at this version's schema is left as it is."""
    open_writer(path).dispose()
    before = path.read_bytes()
    open_writer(path).dispose()
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused(path: Path):
    """A database that a newer version wrote is not touched, and the error says what to do."""
    open_writer(path).dispose()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"newer version of jobd \(schema 9999.*install that version"):
        open_writer(path)
    assert path.read_bytes() == before


def damage(path: Path, how: str) -> None:
    """Damage a database."""
    data = bytearray(path.read_bytes())
    match how:
        case "text":
            data[:] = b"this is no database" * 100
        case "header":
            data[:16] = b"\0" * 16
        case "page":
            data[4096:8192] = b"\xa5" * 4096
        case "cut":
            del data[len(data) // 2 :]
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["text", "header", "page", "cut"])
def test_a_damaged_file_is_refused(path: Path, how: str):
    """A file that is no database, or a torn one, is an error that names the file and says what to do."""
    open_writer(path).dispose()
    damage(path, how)
    with pytest.raises(StorageError, match=r"(?s)jobd\.db is damaged.*backup"):
        open_writer(path)


@pytest.mark.parametrize("name", ["a b", "100%", "a#b", "a?b", "a%20b", "日本", "a&mode=rwc"])
def test_any_folder_can_hold_it(tmp_path: Path, name: str):
    """A character that means something in a URL means nothing in the path of a state directory."""
    folder = tmp_path / name
    folder.mkdir()
    open_writer(folder / "jobd.db").dispose()
    assert (folder / "jobd.db").exists()
    engine = open_reader(folder / "jobd.db")
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM jobs")) == 0
    engine.dispose()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_change_is_on_disk_when_its_future_is_done(writer: Writer, path: Path):
    """Another connection sees a change as soon as its future has a result."""
    assert writer.submit(note(1)).result(10) == 1
    assert noted(path) == [1]


def test_changes_that_queue_up_share_a_commit(writer: Writer, path: Path):
    """Two hundred changes asked for while one transaction is held need a handful of commits."""
    begun, go = threading.Event(), threading.Event()

    def hold(_connection: Connection) -> None:
        begun.set()
        assert go.wait(10)

    held = writer.submit(hold)
    assert begun.wait(10)
    before = writer.counts["commits"]
    futures = [writer.submit(note(number)) for number in range(200)]
    go.set()
    assert [future.result(10) for future in futures] == [*range(200)]
    held.result(10)
    assert noted(path) == [*range(200)]
    assert writer.counts["commits"] - before <= 4


def test_a_change_that_fails_takes_no_other_along(writer: Writer, path: Path):
    """Of changes that share a transaction, the one that fails is undone in full and alone."""
    begun, go = threading.Event(), threading.Event()

    def hold(_connection: Connection) -> None:
        begun.set()
        assert go.wait(10)

    def fail(connection: Connection) -> None:
        note(50)(connection)
        note(1)(connection)

    writer.submit(hold)
    assert begun.wait(10)
    good, bad, later = writer.submit(note(1)), writer.submit(fail), writer.submit(note(2))
    go.set()
    assert (good.result(10), later.result(10)) == (1, 2)
    with pytest.raises(Exception, match="UNIQUE"):
        bad.result(10)
    assert noted(path) == [1, 2]


def test_a_commit_that_fails_is_told_to_everybody(writer: Writer, path: Path):
    """When a commit is refused, every change of it has failed with a StorageError, and the next change works."""
    begun, go = threading.Event(), threading.Event()

    def hold(_connection: Connection) -> None:
        begun.set()
        assert go.wait(10)

    def break_commit(connection: Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE child (parent INTEGER REFERENCES jobs DEFERRABLE INITIALLY DEFERRED)")
        connection.exec_driver_sql("INSERT INTO child VALUES (999)")

    writer.submit(hold)
    assert begun.wait(10)
    futures = [writer.submit(work) for work in (note(1), break_commit, note(2))]
    go.set()
    assert [type(future.exception(10)) for future in futures] == [StorageError] * 3
    assert writer.counts["rollbacks"] == 1
    assert writer.submit(note(7)).result(10) == 7
    assert noted(path) == [7]


def test_who_no_longer_waits_does_not_stop_the_writer(writer: Writer, path: Path):
    """A change whose asker has gone, as a client that hangs up, harms neither those beside it nor those after it."""
    begun, go = threading.Event(), threading.Event()

    def hold(_connection: Connection) -> None:
        begun.set()
        assert go.wait(10)

    running = writer.submit(hold)
    assert begun.wait(10)
    queued, beside = writer.submit(note(1)), writer.submit(note(2))
    running.cancel()
    queued.cancel()
    go.set()
    assert beside.result(3) == 2
    assert writer.submit(note(3)).result(3) == 3
    assert noted(path) in ([2, 3], [1, 2, 3])


def test_a_closed_writer_finishes_and_refuses(path: Path):
    """What was asked for before the close is done; what comes after is refused as draining."""
    writer = Writer(open_writer(path), committed=lambda: None, rolled_back=lambda: None)
    writer.submit(lambda connection: connection.execute(text("CREATE TABLE note (number INTEGER)")))
    futures = [writer.submit(note(number)) for number in range(300)]
    writer.close()
    assert all(future.done() for future in futures)
    assert noted(path) == [*range(300)]
    with pytest.raises(DrainingError):
        writer.submit(note(1))
