"""The SQLite file under the store: how it is opened, kept at this version's schema, and written to.

One thread owns the only connection that writes: SQLite before 3.51.3 can lose commits when two connections commit
and checkpoint, and one writer lets many small changes share one sync of the disk.
"""

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError

from jobd.errors import DiskFullError, DrainingError, StorageError

T = TypeVar("T")

HEAD = "0001"
"""The migration that makes this version's schema."""

_GROUP = 100
"""At most this many changes share one commit."""

_QUICK_CHECK_BYTES = 64 << 20
"""A larger database is not read whole at every start, which has to be quick."""


def open_writer(path: Path) -> Engine:
    """Open the database for the one writer, making or migrating it first.

    StorageError when it is damaged, or was written by a newer version.
    """
    engine = create_engine(
        URL.create("sqlite", database=str(path)), connect_args={"isolation_level": None, "timeout": 30.0}
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute(f"PRAGMA journal_size_limit={64 << 20}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that starts as a reader cannot wait for a lock when it first writes.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    try:
        _migrate(engine, path)
    except sqlite3.DatabaseError as error:
        raise _damaged(path, error) from error
    return engine


def open_reader(path: Path) -> Engine:
    """Open the database for reading only, from any number of threads."""
    return create_engine(
        URL.create("sqlite", database=f"file:{quote(str(path))}", query={"mode": "ro", "uri": "true"}),
        connect_args={"isolation_level": None, "timeout": 30.0, "check_same_thread": False},
        pool_size=4,
        max_overflow=8,
    )


def _damaged(path: Path, error: Exception) -> StorageError:
    return StorageError(f"{path} is damaged: {error}", hint="put a backup in its place, or move it away to begin anew")


def _migrate(engine: Engine, path: Path) -> None:
    revision = _revision(path)
    if revision == HEAD:
        return
    # Alembic costs a fifth of a second to import, and is needed once in the life of a version.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise StorageError(
            f"{path} was written by a newer version of jobd (schema {revision}, this one knows {HEAD})",
            hint="install that version, or restore a backup made before the upgrade",
        )
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(path: Path) -> str | None:
    if not path.exists():
        return None
    connection = sqlite3.connect(path)
    try:
        if path.stat().st_size < _QUICK_CHECK_BYTES:
            check = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if check != "ok":
                raise _damaged(path, ValueError(check))
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "alembic_version" not in names:
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return None if row is None else str(row[0])
    except sqlite3.DatabaseError as error:
        raise _damaged(path, error) from error
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class _Change:
    work: Callable[[Connection], Any]
    future: "Future[Any]"


class Writer:
    """The thread that writes. Changes asked for while it is busy are committed together."""

    def __init__(self, engine: Engine, *, committed: Callable[[], None], rolled_back: Callable[[], None]) -> None:
        """Start the thread, which calls `committed` or `rolled_back` after each transaction, before any answer."""
        self._engine = engine
        self._committed = committed
        self._rolled_back = rolled_back
        self._queue: queue.SimpleQueue[_Change | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Connection], T]) -> "Future[T]":
        """Run `work` in a transaction; the future is done when it is on disk, or holds why it is not."""
        if self._closed:
            raise DrainingError
        future: Future[T] = Future()
        self._queue.put(_Change(work, future))
        return future

    def close(self) -> None:
        """Finish everything that was asked for and end."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._engine.dispose()

    def _run(self) -> None:
        with self._engine.connect() as connection:
            while group := self._next_group():
                self._commit(connection, group)

    def _next_group(self) -> list[_Change]:
        group: list[_Change] = []
        change = self._queue.get()
        while change is not None:
            group.append(change)
            if len(group) == _GROUP or self._queue.empty():
                return group
            change = self._queue.get()
        if group:
            self._queue.put(None)
        return group

    def _commit(self, connection: Connection, group: list[_Change]) -> None:
        # From here on nobody can cancel them: a future whose asker has gone must not end this thread.
        group = [change for change in group if change.future.set_running_or_notify_cancel()]
        outcomes: list[tuple[_Change, Any, Exception | None]] = []
        try:
            with connection.begin():
                outcomes.extend(_try(connection, change) for change in group)
        except Exception as error:  # noqa: BLE001 - whatever the disk says reaches everyone whose change it was
            # A COMMIT that is refused leaves SQLite's transaction open, and the next BEGIN would fail.
            with contextlib.suppress(sqlite3.Error):
                connection.connection.rollback()
            self._rolled_back()
            failure = _refusal(error)
            for change in group:
                change.future.set_exception(failure)
            return
        self._committed()
        for change, result, failed in outcomes:
            if failed is None:
                change.future.set_result(result)
            else:
                change.future.set_exception(failed)


def _refusal(error: Exception) -> StorageError:
    """Say what it means that a change could not be written, without what the database layer adds for programmers."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return DiskFullError("the disk is full: the store could not be written", hint="make room, and try again")
    return StorageError(f"the store could not be written: {cause}", hint="see the daemon's log and its disk")


def _try(connection: Connection, change: _Change) -> tuple[_Change, Any, Exception | None]:
    savepoint = connection.begin_nested()
    try:
        result = change.work(connection)
    except Exception as error:  # noqa: BLE001 - one change that fails takes nobody else's along
        savepoint.rollback()
        return change, None, _refusal(error) if isinstance(error, OperationalError) else error
    savepoint.commit()
    return change, result, None
