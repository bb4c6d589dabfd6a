"""The one thread that writes to the database, and what it knows of the disk.

It owns the only connection that writes: SQLite before 3.51.3 can lose commits when two connections commit and
checkpoint, and one writer lets many small changes share one sync of the disk.
"""

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from jobd.errors import DiskFullError, DrainingError, StorageError

T = TypeVar("T")

Measure = Callable[[float, int], None]
"""Is told, in the writer's thread, how many seconds a commit took and how many changes were in it."""

_GROUP = 100
"""At most this many changes share one commit."""


@dataclass(frozen=True, slots=True)
class _Change:
    work: Callable[[Connection], Any]
    future: "Future[Any]"


class Writer:
    """The thread that writes. Changes asked for while it is busy are committed together."""

    def __init__(
        self,
        engine: Engine,
        *,
        committed: Callable[[], None],
        rolled_back: Callable[[], None],
        measured: Measure = lambda _seconds, _changes: None,
    ) -> None:
        """Start the thread, which calls `committed` or `rolled_back` after each transaction, before any answer."""
        self.trouble = ""
        """Why the last change that the disk had a say in could not be written; empty once one could."""
        self._engine = engine
        self._committed = committed
        self._rolled_back = rolled_back
        self._measured = measured
        self._queue: queue.SimpleQueue[_Change | None] = queue.SimpleQueue()
        self._closed = False
        self._gate = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Connection], T]) -> "Future[T]":
        """Run `work` in a transaction; the future is done when it is on disk, or holds why it is not."""
        future: Future[T] = Future()
        with self._gate:
            if self._closed:
                raise DrainingError
            self._queue.put(_Change(work, future))
        return future

    def answer(self) -> "Future[None]":
        """Give a future that is done when the thread has come round to it; the disk is not asked for anything."""
        return self.submit(_do_nothing)

    def probe(self) -> "Future[None]":
        """Write to the disk, changing nothing; the future holds why when that is not possible."""
        return self.submit(_write_something)

    def close(self) -> None:
        """Finish everything that was asked for and end."""
        with self._gate:  # what is put behind the end would never be answered
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
        begun, written = monotonic(), _count_written(connection)
        try:
            with connection.begin():
                outcomes.extend(_try(connection, change) for change in group)
        except Exception as error:  # noqa: BLE001 - whatever the disk says reaches everyone whose change it was
            # A COMMIT that is refused leaves SQLite's transaction open, and the next BEGIN would fail.
            with contextlib.suppress(sqlite3.Error):
                connection.connection.rollback()
            self._rolled_back()
            failure = _refusal(error)
            self.trouble = failure.message
            for change in group:
                change.future.set_exception(failure)
            return
        wrote = _count_written(connection) > written
        self._note(outcomes, wrote=wrote)
        if wrote:
            self._measured(monotonic() - begun, len(group))
        self._committed()
        for change, result, failed in outcomes:
            if failed is None:
                change.future.set_result(result)
            else:
                change.future.set_exception(failed)

    def _note(self, outcomes: "Iterable[tuple[_Change, Any, Exception | None]]", *, wrote: bool) -> None:
        """Remember whether the disk takes what is written; a commit that wrote nothing tells nothing of it."""
        refused = [failed.message for _change, _result, failed in outcomes if isinstance(failed, StorageError)]
        if refused:
            self.trouble = refused[0]
        elif wrote:
            self.trouble = ""


def driver(connection: Connection) -> sqlite3.Connection:
    """Give the driver's own connection: what is done with it is in the transaction of `connection`."""
    found: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    return found


def _count_written(connection: Connection) -> int:
    """Count the rows that this connection has ever changed."""
    return driver(connection).total_changes


def _do_nothing(_connection: Connection) -> None:
    """Change nothing."""


def _write_something(connection: Connection) -> None:
    # An update to what is there already would be left out by SQLite.
    connection.exec_driver_sql("INSERT INTO alembic_version (version_num) VALUES ('')")
    connection.exec_driver_sql("DELETE FROM alembic_version WHERE version_num = ''")


def _refusal(error: Exception) -> StorageError:
    """Say what it means that a change could not be written, without what the database layer adds for programmers."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return DiskFullError("the disk is full: the store could not be written", hint="make room, and try again")
    return StorageError(f"the store could not be written: {cause}", hint="see the daemon's log and its disk")


def _try(connection: Connection, change: _Change) -> tuple[_Change, Any, Exception | None]:
    transaction = driver(connection)
    transaction.execute("SAVEPOINT change")
    try:
        result = change.work(connection)
    except Exception as error:
        if not transaction.in_transaction:
            raise  # SQLite has undone all of it by itself, as it does when the disk is full
        transaction.execute("ROLLBACK TO change")
        refused = isinstance(error, OperationalError | sqlite3.OperationalError)
        return change, None, _refusal(error) if refused else error
    transaction.execute("RELEASE change")
    return change, result, None
